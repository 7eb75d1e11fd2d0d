/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/user.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

static bool parse_number(const char *text, unsigned *number) {
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);

    if (errno != 0 || *end != '\0' || value >= UINT32_MAX)
        return false;
    *number = (unsigned)value;
    return true;
}

static void take_entry(const struct passwd *entry, User *user) {
    user->uid = entry->pw_uid;
    user->gid = entry->pw_gid;
    (void)snprintf(user->name, sizeof(user->name), "%s", entry->pw_name);
    (void)snprintf(user->home, sizeof(user->home), "%s", entry->pw_dir);
    user->n_groups = USER_GROUPS_MAX;
    if (getgrouplist(entry->pw_name, entry->pw_gid, user->groups, &user->n_groups) < 0)
        user->n_groups = USER_GROUPS_MAX; /* in more groups than we pass on */
}

static int find_user(const char *name, User *user, Result *result) {
    unsigned number;
    const struct passwd *entry = getpwnam(name);

    if (!entry && parse_number(name, &number)) {
        user->uid = number;
        entry = getpwuid(number);
        if (!entry) {
            (void)snprintf(user->name, sizeof(user->name), "%u", number);
            (void)snprintf(user->home, sizeof(user->home), "%s", number == 0 ? "/root" : "/");
            user->n_groups = 1;
            return 0;
        }
    }
    if (!entry)
        return result_say(result, ENOENT, "no user \"%s\" in the guest's /etc/passwd", name);
    take_entry(entry, user);
    return 0;
}

static int find_group(const char *name, User *user, Result *result) {
    unsigned number;
    const struct group *entry = getgrnam(name);

    if (entry)
        user->gid = entry->gr_gid;
    else if (parse_number(name, &number))
        user->gid = number;
    else
        return result_say(result, ENOENT, "no group \"%s\" in the guest's /etc/group", name);
    user->n_groups = 1;
    user->groups[0] = user->gid;
    return 0;
}

int user_find(const char *specification, User *user, Result *result) {
    char name[128];
    User found = {0};
    int r;

    if (strlen(specification) >= sizeof(name))
        return result_say(result, EINVAL, "the user's name is too long");
    strcpy(name, specification);
    char *group = strchr(name, ':');

    if (group)
        *group++ = '\0';
    if (name[0] == '\0')
        strcpy(name, "0"); /* root, under whatever name */
    r = find_user(name, &found, result);
    if (r == 0 && group && group[0] != '\0')
        r = find_group(group, &found, result);
    if (r == 0)
        *user = found;
    return r;
}
