/* SPDX-License-Identifier: Apache-2.0 */

/* Two ways, one at a time:
 *
 *   a folder of ours   RAMET_CGROUP, or where systemd does not run "ramet" below the folder that
 * the daemon is in: a folder of its own for each VM with limits a scope            of systemd,
 * where that runs: the folders are its own there
 *
 * A VM without limits has neither, and none of this is done for it. A folder outlives a daemon that
 * dies; the VM's end or removal, seen by the next one, takes it away, and a start finds it. */

#include "limits/enforce.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "home/inside.h"
#include "limits/cgroup.h"
#include "limits/cgroup_find.h"
#include "limits/scope.h"

#define NAME_MAX_SIZE 64

static const VmLimits everything = {.cpu_thousandths = 1, .memory_bytes = 1, .pids = 1};

static bool is_given(const char *cgroup) {
    return cgroup && *cgroup;
}

static bool has_scopes(const char *cgroup) {
    return !is_given(cgroup) && sd_booted() > 0;
}

static void name_of(const VmRow *row, char name[NAME_MAX_SIZE]) {
    (void)snprintf(name, NAME_MAX_SIZE, "ramet-%s", row->id);
}

/* ---- the folder ---- */

static int open_folder(const char *path, Error *error) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    return error_set(error, ERROR_UNSUPPORTED, errno, "cannot open %s: %s", path, strerror(errno));
}

/* The one that is above ours: what is checked. */
static int find_above(const char *cgroup, char **path, Error *error) {
    if (!is_given(cgroup))
        return cgroup_of_process(0, path, error);
    *path = str_copy(cgroup);
    return 0;
}

/* Of the daemon's own folder one below it is ours, since it may have others. */
static int make_own(const Cgroup *above, const VmLimits *limits, Error *error) {
    int r = cgroup_delegate(above, limits, error);
    if (r >= 0 && mkdirat(above->fd, "ramet", 0755) < 0 && errno != EEXIST)
        r = error_set_errno(error, errno, "cannot make %s/ramet", above->path);
    return r;
}

/* Opens the folder in which those of VMs are; the path is the caller's. limits: what has to be
 * there; NULL: it is only looked for. */
static int open_own(const char *cgroup, const VmLimits *limits, char **path, Error *error) {
    _cleanup_free_ char *above = NULL, *own = NULL;
    _cleanup_close_ int fd = -1;
    int r = find_above(cgroup, &above, error);
    if (r < 0)
        return r;
    if (!is_given(cgroup)) {
        fd = open_folder(above, error);
        r = fd < 0 ? fd : 0;
        if (r >= 0 && limits)
            r = make_own(&(Cgroup){.fd = fd, .path = above}, limits, error);
        own = path_join(above, "ramet");
    } else
        own = TAKE_PTR(above);
    _cleanup_close_ int own_fd = r < 0 ? r : open_folder(own, error);
    if (own_fd >= 0 && limits)
        r = cgroup_delegate(&(Cgroup){.fd = own_fd, .path = own}, limits, error);
    if (own_fd < 0 || r < 0)
        return MIN_OF(own_fd, r);
    *path = TAKE_PTR(own);
    return TAKE_FD(own_fd);
}

static int limit_folder(const char *cgroup, const VmRow *row, const pid_t *pids, size_t n_pids,
                        Error *error) {
    _cleanup_free_ char *path = NULL;
    _cleanup_close_ int fd = open_own(cgroup, &row->spec.limits, &path, error);
    char name[NAME_MAX_SIZE];
    if (fd < 0)
        return fd;
    name_of(row, name);
    return cgroup_limit(&(Cgroup){.fd = fd, .path = path}, name, &row->spec.limits, pids, n_pids,
                        error);
}

/* ---- the scope ---- */

/* One for each run: that of the last one may still be on its way out. A manager that lacks a
 * controller says nothing: what came of it is looked at. */
static int limit_scope(const VmRow *row, const pid_t *pids, size_t n_pids, Error *error) {
    _cleanup_free_ char *path = NULL;
    _cleanup_close_ int fd = -1;
    char name[NAME_MAX_SIZE];
    (void)snprintf(name, sizeof(name), "ramet-%s-%d.scope", row->id, (int)pids[0]);
    int r = scope_limit(name, &row->spec.limits, pids, n_pids, error);
    if (r >= 0)
        r = cgroup_of_process(pids[0], &path, error);
    if (r < 0)
        return r;
    fd = open_folder(path, error);
    return fd < 0 ? fd : cgroup_verify(&(Cgroup){.fd = fd, .path = path}, &row->spec.limits, error);
}

/* ---- VMs ---- */

static int check_in(const char *cgroup, const VmLimits *limits, Error *error) {
    _cleanup_free_ char *path = NULL;
    _cleanup_close_ int fd = -1;
    int r = has_scopes(cgroup) ? scope_parent(&path, error) : find_above(cgroup, &path, error);
    if (r < 0)
        return r;
    fd = open_folder(path, error);
    return fd < 0 ? fd : cgroup_check(&(Cgroup){.fd = fd, .path = path}, limits, error);
}

int limits_check(Home *home, const VmLimits *limits, Error *error) {
    return vm_limits_need_cgroup(limits) ? check_in(home->cgroup, limits, error) : 0;
}

int limits_enforce(Home *home, const VmRow *row, pid_t keeper, pid_t qemu, Error *error) {
    const pid_t pids[] = {keeper, qemu};
    size_t n_pids = qemu > 0 ? 2 : 1;
    int r = has_scopes(home->cgroup) ? limit_scope(row, pids, n_pids, error)
                                     : limit_folder(home->cgroup, row, pids, n_pids, error);
    return r < 0 ? error_add_context(error, "cannot limit %s", row->name) : 0;
}

void limits_forget(Home *home, const VmRow *row) {
    _cleanup_free_ char *path = NULL;
    _cleanup_close_ int fd = -1;
    char name[NAME_MAX_SIZE];
    if (has_scopes(home->cgroup))
        return;
    fd = open_own(home->cgroup, NULL, &path, NULL);
    if (fd < 0)
        return;
    name_of(row, name);
    int r = cgroup_remove(&(Cgroup){.fd = fd, .path = path}, name);
    if (r < 0)
        log_warning("cannot remove %s/%s: %s", path, name, strerror(-r));
}

/* ---- the doctor ---- */

char *limits_tell(const char *cgroup, bool *all) {
    _cleanup_error_ Error error = ERROR_INIT;
    *all = check_in(cgroup, &everything, &error) >= 0;
    if (!*all)
        return str_format("disks can be limited; %s", error_message(&error));
    return str_format("CPUs, memory, processes and disks can be limited, by %s",
                      has_scopes(cgroup) ? "scopes of systemd" : "folders of cgroup v2");
}
