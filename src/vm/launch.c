/* SPDX-License-Identifier: Apache-2.0 */

/* One attempt to start a VM: spawn a keeper, gather the open files, send it the plan, wait for
 * ready. The keeper is spawned first, so that it gets up while we gather.
 *
 * The keeper's identity is in the store before the plan is sent, so a daemon that dies in between
 * leaves nothing that the next one cannot find. When the attempt fails the keeper is ended, and
 * QEMU with it (it dies with its parent); only the VM's folder, with the logs, stays. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/priority.h"
#include "proto/keeper.h"
#include "vm/launch_internal.h"
#include "vm/pool_internal.h"

#define LOG_MAX_BYTES (1 * MIB)

/* --- the keeper
 * ---------------------------------------------------------------------------------------- */

/* keeper.log is written by the daemon's own user, so a full one is cut here and not by the keeper.
 */
static int open_keeper_log(int dir_fd, Error *error) {
    const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(dir_fd, "keeper.log", flags, 0600);
    struct stat info;

    if (fd < 0)
        return error_set_errno(error, errno, "cannot open keeper.log");
    if (fstat(fd, &info) == 0 && (uint64_t)info.st_size > LOG_MAX_BYTES && ftruncate(fd, 0) < 0)
        return error_set_errno(error, errno, "cannot cut keeper.log");
    return fd;
}

void vm_set_nice(const VmRow *row, const ProcessIdentity *keeper, int nice) {
    int r = keeper->pid > 0 && priority_may_raise() ? priority_set_session(keeper->pid, nice) : 0;

    if (r < 0)
        log_debug("cannot set the priority of %s: %s", row->name, strerror(-r));
}

/* A restored guest runs nothing but its agent until it is itself, and somebody waits for it: it
 * goes before guests that run. A cold boot runs the image's programs from the start. */
static int starting_nice(const Launch *launch) {
    if (!launch->restore)
        return NICE_RUNNING;
    return launch->restore->background ? NICE_BACKGROUND : NICE_STARTING;
}

static int ready_nice(const Launch *launch) {
    return launch->restore && launch->restore->in_group ? NICE_BACKGROUND : NICE_RUNNING;
}

/* By the zygote of QEMU, which gives the keeper a child that need not link QEMU first. Without one
 * the keeper is spawned here, and spawns QEMU. */
static int spawn_with(Launch *launch, int log, int listener, pid_t *pid, Error *error) {
    Ramet *ramet = launch->ramet;
    char *argv[] = {(char *)"ramet-keeper", (char *)"--listen-fd", (char *)"3", NULL};
    const SpawnFd fds[] = {{.from = log, .to = 2}, {.from = listener, .to = 3}};
    const SpawnOptions options = {.program = ramet->keeper,
                                  .argv = argv,
                                  .fds = fds,
                                  .n_fds = ARRAY_SIZE(fds),
                                  .new_session = true,
                                  .die_with_parent = true}; /* until it has its plan */
    int r = zygote_spawn_keeper(ramet->zygote, launch->features.binary, ramet->keeper, log,
                                listener, pid, error);

    if (r == 0)
        r = spawn_process(&options, pid, error);
    else if (r > 0)
        return 0; /* nobody's child here: the zygote's */
    return r < 0 ? r : watcher_add_child(ramet->watcher, *pid, error);
}

static int spawn_keeper(Launch *launch, Error *error) {
    _cleanup_close_ int listener = -1, log = open_keeper_log(launch->dir_fd, error);
    pid_t pid;
    int r;

    if (log < 0)
        return log;
    /* The last keeper is gone: we hold the VM's lock. Its socket may still look alive for a moment,
     * in a child of another thread that has not come to its execve. */
    (void)unlinkat(launch->dir_fd, KEEPER_SOCKET_NAME, 0);
    listener = fd_unix_listen_at(launch->dir_fd, KEEPER_SOCKET_NAME, SOCK_SEQPACKET, 0600, 16);
    if (listener < 0)
        return error_set_errno(error, -listener, "cannot listen for the daemon");
    r = spawn_with(launch, log, listener, &pid, error);
    if (r < 0)
        return r;
    r = process_identify(pid, &launch->keeper);
    if (r < 0)
        return error_set_errno(error, -r, "cannot identify the keeper");
    vm_set_nice(launch->row, &launch->keeper, starting_nice(launch));
    return 0;
}

static void end_keeper(Launch *launch) {
    if (launch->keeper.pid > 0) {
        (void)process_signal(&launch->keeper, SIGKILL);
        (void)process_wait_gone(&launch->keeper, clock_monotonic_usec() + 60 * USEC_PER_SEC);
    }
}

static void hear_event(void *data, const json_t *event) {
    Launch *launch = data;
    const char *kind = json_string_value(json_object_get(event, "event"));
    const char *name = json_string_value(json_object_get(event, "name"));
    const char *message = json_string_value(json_object_get(event, "message"));

    if (str_equal(kind, "stage") && str_equal(name, "agent"))
        launch->heard =
            true; /* the keeper begins this stage at the first byte of console or agent */
    if (str_equal(kind, "stage") && name)
        operation_enter_at(launch->operation, name,
                           (uint64_t)json_integer_value(json_object_get(event, "at_us")));
    else if (str_equal(kind, "log") && message)
        operation_note(launch->operation, "%s", message);
}

static int send_plan(Launch *launch, int cancel_fd, json_t **ok, Error *error) {
    _cleanup_json_ json_t *plan = plan_to_json(&launch->plan);
    _cleanup_json_ json_t *request = json_pack("{s:s, s:O}", "op", "start", "plan", plan);
    /* The keeper keeps the bounds; this one is only for a keeper that does not. */
    uint64_t bound = launch->plan.ready_timeout_usec + 120 * USEC_PER_SEC;

    return keeper_call(launch->dir_fd, request, launch->files.fds, launch->files.count,
                       clock_monotonic_usec() + bound, cancel_fd, hear_event, launch, ok, error);
}

/* The row keeps the keeper's identity before anything depends on it. */
static int remember_keeper(Launch *launch, Error *error) {
    row_set_process(launch->row, "keeper", &launch->keeper);
    return vms_update(launch->ramet->store, launch->row, error);
}

static void take_answer(Launch *launch, const json_t *ok) {
    VmRow *row = launch->row;
    uint64_t ready = (uint64_t)json_integer_value(json_object_get(ok, "ready_at_us"));

    row_take_facts(row, ok);
    row_set(row, "accel", json_string(launch->accel));
    row_set(row, "machine", json_string(launch->plan.machine));
    if (ready)
        stages_end_at(&launch->operation->stages, ready);
    else
        stages_end(&launch->operation->stages);
    row_set(row, "stages", json_from_stages(&launch->operation->stages));
}

static int start_in_keeper(Launch *launch, int cancel_fd, bool *silent, Error *error) {
    _cleanup_json_ json_t *ok = NULL;
    int r;

    r = remember_keeper(launch, error);
    if (r < 0)
        return r;
    r = send_plan(launch, cancel_fd, &ok, error);
    if (r < 0) {
        *silent = !launch->heard && error && error->kind == ERROR_GUEST_NOT_READY;
        return r;
    }
    take_answer(launch, ok);
    return 0;
}

static int prepare(Launch *launch, Error *error) {
    Ramet *ramet = launch->ramet;
    int r;

    vm_spec_init(&launch->spec);
    plan_init(&launch->plan);
    launch->dir_fd = -1;
    r = vm_spec_from_json(launch->row->spec, &launch->spec, error);
    if (r >= 0)
        r = host_probe(ramet, &launch->features, &launch->accel, error);
    if (r >= 0)
        r = vm_folder_open(ramet, launch->row->id, &launch->dir_fd, error);
    if (r < 0)
        return r;
    /* What an earlier run left must not be taken for this one's. */
    if (unlinkat(launch->dir_fd, "exit.json", 0) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "cannot remove exit.json");
    if (launch->restore)
        r = snapshot_check_host(launch->restore->snapshot, &launch->features, launch->accel, error);
    if (r < 0)
        return r;
    operation_enter(launch->operation, "memory");
    /* Filling hot memory or making an initramfs may take longer than a keeper waits for its plan.
     */
    r = launch_plan_memory(launch, error);
    if (r >= 0 && !launch->restore)
        r = launch_make_plan(launch, error);
    if (r < 0)
        return r;
    /* What it runs under, for its snapshots: the host may change while it runs. */
    row_set(launch->row, "facts", snapshot_facts(&launch->features, launch->accel, launch->row));
    operation_enter(launch->operation, "keeper");
    r = spawn_keeper(launch, error);
    return r >= 0 && launch->restore ? launch_make_plan(launch, error) : r;
}

/* Who took the port between the check of it and QEMU's own try. */
static int explain(const Launch *launch, int r, Error *error) {
    if (launch->spec.n_forwards == 0 || !error ||
        !strstr(error_message(error), "host forwarding rule"))
        return r;
    error->kind = ERROR_CONFLICT;
    error_set_hint(error, "choose another host port with -p");
    return r;
}

int vm_launch_from(Ramet *ramet, Operation *operation, VmRow *row, const Restore *restore,
                   int cancel_fd, bool *silent, Error *error) {
    _cleanup_(launch_free)
        Launch launch = {.ramet = ramet, .operation = operation, .row = row, .restore = restore};
    int r;

    *silent = false;
    r = prepare(&launch, error);
    if (r >= 0)
        r = start_in_keeper(&launch, cancel_fd, silent, error);
    if (r >= 0)
        vm_set_nice(row, &launch.keeper, ready_nice(&launch));
    if (r < 0) {
        end_keeper(&launch);
        row_set_process(row, "keeper", NULL);
        return explain(&launch, r, error);
    }
    return 0;
}

int vm_launch(Ramet *ramet, Operation *operation, VmRow *row, int cancel_fd, bool *silent,
              Error *error) {
    return vm_launch_from(ramet, operation, row, NULL, cancel_fd, silent, error);
}

/* --- claiming ----------------------------------------------------------------------------------
 */

static json_t *claim_request(const Launch *launch) {
    _cleanup_json_ json_t *plan = plan_to_json(&launch->plan);

    return json_pack("{s:s, s:O, s:O, s:s, s:b}", "op", "claim", "identity",
                     json_object_get(plan, "identity"), "forwards",
                     json_object_get(plan, "forwards"), "name", launch->row->name, "remove_on_exit",
                     launch->row->remove && launch->row->attached);
}

static int send_claim(Launch *launch, int cancel_fd, json_t **ok, Error *error) {
    _cleanup_json_ json_t *request = claim_request(launch);
    uint64_t bound = launch->plan.ready_timeout_usec + 120 * USEC_PER_SEC;

    return keeper_call(launch->dir_fd, request, NULL, 0, clock_monotonic_usec() + bound, cancel_fd,
                       hear_event, launch, ok, error);
}

int vm_claim(Ramet *ramet, Operation *operation, VmRow *row, int cancel_fd, Error *error) {
    const Restore how = {.boot = "claimed", .clone = true};
    _cleanup_(launch_free)
        Launch launch = {.ramet = ramet, .operation = operation, .row = row, .restore = &how};
    _cleanup_json_ json_t *ok = NULL;
    int r;

    vm_spec_init(&launch.spec);
    plan_init(&launch.plan);
    launch.dir_fd = -1;
    launch.accel = str_equal(row_text(row, "accel"), "kvm") ? "kvm" : "tcg";
    (void)snprintf(launch.plan.machine, sizeof(launch.plan.machine), "%s",
                   row_text(row, "machine"));
    r = vm_spec_from_json(row->spec, &launch.spec, error);
    if (r >= 0)
        r = vm_folder_open(ramet, row->id, &launch.dir_fd, error);
    if (r < 0)
        return r;
    launch.plan.qemu = str_copy("");
    launch.plan.cmdline = str_copy("");
    launch_plan_who(&launch);
    r = send_claim(&launch, cancel_fd, &ok, error);
    if (r >= 0)
        take_answer(&launch, ok);
    return r;
}
