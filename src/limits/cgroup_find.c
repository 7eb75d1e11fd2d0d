/* SPDX-License-Identifier: Apache-2.0 */

#include "limits/cgroup_find.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

#define MOUNTS_MAX (4 * MIB)
#define CGROUP_MAX (64 * KIB)
#define MOUNT_FIELD 4 /* of a line, from 0 */

/* The word `index` of a line, the caller's; NULL: it has fewer. */
static char *word_of(const char *line, size_t size, int index) {
    const char *end = line + size;
    for (; index > 0 && line < end; index--) {
        const char *space = memchr(line, ' ', (size_t)(end - line));
        line = space ? space + 1 : end;
    }
    const char *stop = line < end ? memchr(line, ' ', (size_t)(end - line)) : NULL;
    return line < end ? str_format("%.*s", (int)((stop ? stop : end) - line), line) : NULL;
}

/* After the optional fields comes a hyphen, and then the type. */
static bool is_cgroup2(const char *line, size_t size) {
    static const char mark[] = " - cgroup2 ";
    return memmem(line, size, mark, sizeof(mark) - 1) != NULL;
}

char *cgroup_find_mount(const char *mountinfo) {
    for (const char *line = mountinfo; *line;) {
        size_t size = strcspn(line, "\n");
        char *path = is_cgroup2(line, size) ? word_of(line, size, MOUNT_FIELD) : NULL;
        if (path && *path == '/' && !strchr(path, '\\')) /* not one with a space or the like */
            return path;
        free(path);
        line += size + (line[size] == '\n');
    }
    return NULL;
}

char *cgroup_find_path(const char *text) {
    for (const char *line = text; *line;) {
        size_t size = strcspn(line, "\n");
        if (str_has_prefix(line, "0::/"))
            return str_format("%.*s", (int)(size - 3), line + 3);
        line += size + (line[size] == '\n');
    }
    return NULL;
}

int cgroup_of_host(char **path, Error *error) {
    _cleanup_free_ char *mounts = NULL;
    int r = fd_read_file_at(AT_FDCWD, "/proc/self/mountinfo", MOUNTS_MAX, &mounts, NULL);
    if (r < 0)
        return error_set_errno(error, -r, "cannot read /proc/self/mountinfo");
    char *found = cgroup_find_mount(mounts);
    if (!found) {
        error_set(error, ERROR_UNSUPPORTED, ENOTSUP,
                  "nothing can be limited here: cgroup v2 is not mounted");
        error_set_hint(error, "mount it (mount -t cgroup2 none /sys/fs/cgroup), or leave out "
                              "--cpu-limit, --memory-limit and --pids-limit");
        return -ENOTSUP;
    }
    *path = found;
    return 0;
}

int cgroup_of_process(pid_t pid, char **path, Error *error) {
    _cleanup_free_ char *mount = NULL, *text = NULL, *below = NULL;
    _cleanup_free_ char *file =
        pid ? str_format("/proc/%d/cgroup", (int)pid) : str_copy("/proc/self/cgroup");
    int r = cgroup_of_host(&mount, error);
    if (r < 0)
        return r;
    r = fd_read_file_at(AT_FDCWD, file, CGROUP_MAX, &text, NULL);
    if (r < 0)
        return error_set_errno(error, -r, "cannot read %s", file);
    below = cgroup_find_path(text);
    if (!below)
        return error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "%s names no folder of cgroup v2",
                         file);
    *path = str_equal(below, "/") ? TAKE_PTR(mount) : str_format("%s%s", mount, below);
    return 0;
}
