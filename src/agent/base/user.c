/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/base/user.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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

static void copy_entry(const struct passwd *entry, User *user) {
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
    copy_entry(entry, user);
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

static int find(const char *specification, User *user, Result *result) {
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

/* Of both files, as they were when root was looked up: in a clone a look-up is thousands of new
 * blocks of code for the emulator, and hardly a command is for anybody else. */
typedef struct Version {
    ino_t inode[2];
    struct timespec changed[2];
} Version;

static int read_version(Version *version) {
    static const char *const paths[] = {"/etc/passwd", "/etc/group"};
    struct stat info;
    *version = (Version){0};
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        if (stat(paths[i], &info) < 0)
            return -errno;
        version->inode[i] = info.st_ino;
        version->changed[i] = info.st_ctim;
    }
    return 0;
}

static int find_root(User *user, Result *result) {
    static User root;
    static Version version;
    static bool known;
    Version now;
    int r = 0;
    if (read_version(&now) < 0)
        return find("", user, result);
    if (!known || memcmp(&now, &version, sizeof(now)) != 0)
        r = find("", &root, result);
    if (r < 0)
        return r;
    known = true;
    version = now;
    *user = root;
    return 0;
}

int user_find(const char *specification, User *user, Result *result) {
    return specification[0] ? find(specification, user, result) : find_root(user, result);
}

void user_prepare(void) {
    User root;
    (void)find_root(&root, &(Result){0});
}
