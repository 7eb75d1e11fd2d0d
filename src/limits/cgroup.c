/* SPDX-License-Identifier: Apache-2.0 */

/* One table of the three controllers: which limit each keeps, in which file, in which words.
 *
 * Controllers are handed down by cgroup.subtree_control, which the kernel refuses (EBUSY) while
 * processes are in the folder itself, unless it is the root of all; with cpu and pids alone it
 * takes that, and then nobody may enter a folder below (EOPNOTSUPP). Processes that enter bring no
 * memory along: what they have stays charged to the folder that they come from. */

#include "limits/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define FILE_MAX 4096
#define PERIOD_USEC 100000 /* the kernel's own */

static const struct Controller {
    const char *name, *file, *what, *option;
    size_t offset;
} controllers[] = {
    {"cpu", "cpu.max", "CPUs", "--cpu-limit", offsetof(VmLimits, cpu_thousandths)},
    {"memory", "memory.max", "memory", "--memory-limit", offsetof(VmLimits, memory_bytes)},
    {"pids", "pids.max", "processes", "--pids-limit", offsetof(VmLimits, pids)},
};

static uint64_t limit_of(const struct Controller *controller, const VmLimits *limits) {
    return *(const uint64_t *)((const char *)limits + controller->offset);
}

static bool is_cpu(const struct Controller *controller) {
    return controller->offset == offsetof(VmLimits, cpu_thousandths);
}

static char *format_limit(const struct Controller *controller, uint64_t value) {
    if (value == 0)
        return str_copy("max");
    return is_cpu(controller)
               ? str_format("%llu %d", (unsigned long long)value * PERIOD_USEC / 1000, PERIOD_USEC)
               : str_format("%llu", (unsigned long long)value);
}

/* ---- files ---- */

/* The kernel takes one write(2) whole. */
static int write_file(int dir_fd, const char *name, const char *text) {
    _cleanup_close_ int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int read_file(int dir_fd, const char *name, char **text) {
    int r = fd_read_file_at(dir_fd, name, FILE_MAX, text, NULL);
    if (r >= 0)
        (*text)[strcspn(*text, "\n")] = '\0';
    return r;
}

static bool has_word(const char *words, const char *word) {
    size_t size = strlen(word);
    for (const char *at = words; *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        if (length == size && memcmp(at, word, size) == 0)
            return true;
        at += length;
    }
    return false;
}

static int tell_errno(const Cgroup *cgroup, const char *what, int r, Error *error) {
    bool refused = r == -EACCES || r == -EPERM || r == -EROFS;
    (void)error_set(error, refused ? ERROR_PERMISSION : ERROR_UNSUPPORTED, -r,
                    "cannot %s in %s: %s", what, cgroup->path, strerror(-r));
    if (r == -EBUSY || r == -EOPNOTSUPP)
        error_set_hint(error, "processes are in that folder itself, which cgroup v2 does not allow "
                              "beside limits below it; name an empty one in RAMET_CGROUP");
    else if (refused)
        error_set_hint(error, "have a folder of cgroup v2 delegated to this user and name it in "
                              "RAMET_CGROUP, or run the daemon as root or under systemd");
    return r;
}

/* ---- controllers ---- */

static int refuse(const Cgroup *cgroup, const struct Controller *controller, Error *error) {
    error_set(error, ERROR_UNSUPPORTED, ENOTSUP,
              "%s cannot be limited here: %s has no controller \"%s\" of cgroup v2",
              controller->what, cgroup->path, controller->name);
    error_set_hint(error,
                   "leave out %s, or boot the host with cgroup v2 alone "
                   "(cgroup_no_v1=all) and have the controller delegated",
                   controller->option);
    return -ENOTSUP;
}

int cgroup_check(const Cgroup *cgroup, const VmLimits *limits, Error *error) {
    _cleanup_free_ char *there = NULL;
    int r = read_file(cgroup->fd, "cgroup.controllers", &there);
    if (r < 0)
        return tell_errno(cgroup, "read cgroup.controllers", r, error);
    for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
        if (limit_of(&controllers[i], limits) && !has_word(there, controllers[i].name))
            return refuse(cgroup, &controllers[i], error);
    return 0;
}

int cgroup_delegate(const Cgroup *cgroup, const VmLimits *limits, Error *error) {
    _cleanup_free_ char *handed = NULL;
    int r = cgroup_check(cgroup, limits, error);
    if (r < 0)
        return r;
    r = read_file(cgroup->fd, "cgroup.subtree_control", &handed);
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(controllers); i++) {
        _cleanup_free_ char *word = str_format("+%s", controllers[i].name);
        if (limit_of(&controllers[i], limits) && !has_word(handed, controllers[i].name))
            r = write_file(cgroup->fd, "cgroup.subtree_control", word);
    }
    return r < 0 ? tell_errno(cgroup, "hand controllers down", r, error) : 0;
}

/* ---- a VM's folder ---- */

/* A limit that is none needs no controller; where there is one it ends an earlier limit. */
static int set_limit(const Cgroup *cgroup, const struct Controller *controller, uint64_t value,
                     Error *error) {
    _cleanup_free_ char *text = format_limit(controller, value);
    int r = write_file(cgroup->fd, controller->file, text);
    if (r == -ENOENT)
        return value ? refuse(cgroup, controller, error) : 0;
    _cleanup_free_ char *what = str_format("write %s to %s", text, controller->file);
    return r < 0 ? tell_errno(cgroup, what, r, error) : 0;
}

static int set_limits(const Cgroup *cgroup, const VmLimits *limits, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(controllers); i++)
        r = set_limit(cgroup, &controllers[i], limit_of(&controllers[i], limits), error);
    return r;
}

static int enter(const Cgroup *cgroup, const pid_t *pids, size_t n_pids, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < n_pids; i++) {
        _cleanup_free_ char *text = str_format("%d", (int)pids[i]);
        r = write_file(cgroup->fd, "cgroup.procs", text);
        if (r == -ESRCH)
            r = 0;
    }
    return r < 0 ? tell_errno(cgroup, "put processes into cgroup.procs", r, error) : 0;
}

int cgroup_limit(const Cgroup *cgroup, const char *name, const VmLimits *limits, const pid_t *pids,
                 size_t n_pids, Error *error) {
    _cleanup_free_ char *path = str_format("%s/%s", cgroup->path, name);
    bool made = mkdirat(cgroup->fd, name, 0755) == 0;
    if (!made && errno != EEXIST)
        return tell_errno(cgroup, "make a folder", -errno, error);
    _cleanup_close_ int fd = openat(cgroup->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Cgroup below = {.fd = fd, .path = path};
    int r = fd < 0 ? tell_errno(cgroup, "open a folder", -errno, error) : 0;
    if (r >= 0)
        r = set_limits(&below, limits, error);
    if (r >= 0)
        r = enter(&below, pids, n_pids, error);
    if (r < 0 && made)
        (void)cgroup_remove(cgroup, name); /* who had entered it ends with the start that fails */
    return r;
}

static int verify_one(const Cgroup *cgroup, const struct Controller *controller, uint64_t value,
                      Error *error) {
    _cleanup_free_ char *text = NULL;
    uint64_t found = 0, page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (value == 0)
        return 0;
    int r = read_file(cgroup->fd, controller->file, &text);
    if (r < 0)
        return refuse(cgroup, controller, error);
    if (is_cpu(controller)) {
        unsigned long long quota, period;
        if (sscanf(text, "%llu %llu", &quota, &period) == 2 && period > 0 &&
            quota * 1000 / period <= value)
            return 0;
    } else if (parse_u64(text, UINT64_MAX, &found) == 0 && found <= value && found + page > value)
        return 0;
    return refuse(cgroup, controller, error);
}

int cgroup_verify(const Cgroup *cgroup, const VmLimits *limits, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(controllers); i++)
        r = verify_one(cgroup, &controllers[i], limit_of(&controllers[i], limits), error);
    return r;
}

int cgroup_remove(const Cgroup *cgroup, const char *name) {
    return unlinkat(cgroup->fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -errno;
}
