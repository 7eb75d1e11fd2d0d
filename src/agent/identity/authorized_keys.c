/* SPDX-License-Identifier: Apache-2.0 */
/* Lines are only added: what else is in the file is the guest's. Each clone is told of the same
 * keys as its source mostly, and finds in its memory that they are written. */

#include "agent/identity/authorized_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/base/user.h"
#include "agent/identity/hooks.h"

#define FILE_MAX (256 * 1024)

static Logins written;
static bool without_server; /* when it was written */

/* A copy of a lab stays who its source was, and is told of none. */
static bool are_none(const Logins *logins) {
    return !logins->home_key[0] && !logins->keys[0] && !logins->user[0];
}

bool authorized_keys_are_new(const Logins *logins) {
    if (are_none(logins))
        return false;
    return strcmp(logins->home_key, written.home_key) != 0 ||
           strcmp(logins->keys, written.keys) != 0 || strcmp(logins->user, written.user) != 0;
}

void authorized_keys_remember(const Logins *logins) {
    if (are_none(logins))
        return;
    written = *logins;
    without_server = !hooks_have_ssh_server();
}

void authorized_keys_prepare(void) {
    if (without_server && hooks_have_ssh_server())
        written = (Logins){0};
}

static bool has_line(const char *text, const char *line, size_t size) {
    for (const char *at = text; (at = strstr(at, line)); at++)
        if ((at == text || at[-1] == '\n') && (at[size] == '\n' || at[size] == '\0'))
            return true;
    return false;
}

/* The lines of `wanted` that `text` lacks, each with its newline. */
static void collect_missing(const char *text, const char *wanted, char *out, size_t room) {
    size_t used = strlen(out);
    for (const char *at = wanted; *at;) {
        size_t size = strcspn(at, "\n");
        char line[AUTHORIZED_KEYS_SIZE];
        (void)snprintf(line, sizeof(line), "%.*s", (int)size, at);
        if (size > 0 && !has_line(text, line, size) && used < room)
            used += (size_t)snprintf(out + used, room - used, "%s\n", line);
        at += size + (at[size] == '\n');
    }
}

static int append(int folder_fd, const Logins *logins, const User *user) {
    static char text[FILE_MAX], missing[sizeof(logins->home_key) + AUTHORIZED_KEYS_SIZE + 2];
    int flags = O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
    _cleanup_close_ int fd = openat(folder_fd, "authorized_keys", flags, 0600);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (size < 0)
        return -errno;
    text[size] = '\0';
    (void)snprintf(missing, sizeof(missing), "%s", size > 0 && text[size - 1] != '\n' ? "\n" : "");
    size_t begin = strlen(missing);
    if (logins->keys[0] || hooks_have_ssh_server())
        collect_missing(text, logins->home_key, missing, sizeof(missing));
    collect_missing(text, logins->keys, missing, sizeof(missing));
    if (!missing[begin])
        return 0;
    if (fchown(fd, user->uid, user->gid) < 0)
        return -errno;
    return write_all(fd, missing, strlen(missing));
}

static int add_for(const char *name, const Logins *logins, Result *result) {
    char path[300];
    User user;
    int r = user_find(name, &user, result);
    if (r < 0)
        return r;
    (void)snprintf(path, sizeof(path), "%s/.ssh", user.home);
    r = make_folders(user.home, 0700);
    if (r == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
        r = -errno;
    _cleanup_close_ int fd = r < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r == 0 && (fd < 0 || fchown(fd, user.uid, user.gid) < 0))
        r = -errno;
    if (r == 0)
        r = append(fd, logins, &user);
    return r < 0 && r != -EROFS ? result_fail(result, -r, "cannot write %s/authorized_keys", path)
                                : 0;
}

/* An image may name a user that it has not: its programs cannot run then, and that is said when one
 * is to. */
int authorized_keys_write(const Logins *logins, Result *result) {
    if (!logins->keys[0] && !hooks_have_ssh_server())
        return 0;
    int r = add_for("", logins, result);
    if (r == 0 && logins->user[0] && strcmp(logins->user, "root") != 0)
        (void)add_for(logins->user, logins, &(Result){0});
    return r;
}
