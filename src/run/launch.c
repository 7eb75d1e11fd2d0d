/* SPDX-License-Identifier: Apache-2.0 */

/* One attempt to start a VM: spawn a keeper, gather the open files, send it the plan, wait for
 * ready. The keeper is spawned first, so that it gets up while we gather.
 *
 * The keeper's identity is in the store before the plan is sent, so a daemon that dies in between
 * leaves nothing that the next one cannot find. When the attempt fails the keeper is ended, and
 * QEMU with it (it dies with its parent); only the VM's folder, with the logs, stays. */

#include "run/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/process/process.h"
#include "base/process/spawn.h"
#include "base/str.h"
#include "frozen/network_device.h"
#include "frozen/snapshot_key.h"
#include "home/admission.h"
#include "home/home.h"
#include "home/host.h"
#include "home/inside.h"
#include "home/operation.h"
#include "home/row.h"
#include "limits/enforce.h"
#include "network/attach.h"
#include "proto/keeper.h"
#include "proto/plan.h"
#include "run/keeper_status.h"
#include "run/launch_plan.h"
#include "run/launch_ssh.h"
#include "run/limit_running.h"
#include "run/nice.h"
#include "run/restore.h"
#include "run/watcher.h"
#include "store/snapshots.h"
#include "store/vms.h"
#include "zygote/client.h"

#define LOG_MAX_BYTES (1 * MIB)
#define BOOST_USEC (5 * USEC_PER_SEC)

/* ---- the keeper ---- */

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

/* A restored guest runs nothing but its agent until it is itself, and somebody waits for it: it
 * goes before guests that run. One that boots does so until something is heard of it: its kernel
 * measures its timers, and measures wrong when it is kept waiting (docs/cold-boot.md). */
static int starting_nice(const Launch *launch) {
    return launch->restore && launch->restore->background ? NICE_BACKGROUND : NICE_STARTING;
}

static int ready_nice(const Launch *launch) {
    return launch->restore && launch->restore->in_group ? NICE_BACKGROUND : NICE_RUNNING;
}

/* By the zygote of QEMU, which gives the keeper a child that need not link QEMU first. Without one
 * the keeper is spawned here, and spawns QEMU. */
static int spawn_with(Launch *launch, int log, int listener, Error *error) {
    Home *home = launch->home;
    char *argv[] = {(char *)"ramet-keeper", (char *)"--listen-fd", (char *)"3", NULL};
    const SpawnFd fds[] = {{.from = log, .to = 2}, {.from = listener, .to = 3}};
    const SpawnOptions options = {.program = home->keeper,
                                  .argv = argv,
                                  .fds = fds,
                                  .n_fds = ARRAY_SIZE(fds),
                                  .new_session = true,
                                  .die_with_parent = true}; /* until it has its plan */
    pid_t pid;
    int r = zygote_spawn_keeper(home->zygote, launch->features.binary, home->keeper, log, listener,
                                &launch->keeper, &launch->qemu, error);
    if (r != 0)
        return MIN_OF(r, 0); /* nobody's child here: the zygote's */
    r = spawn_process(&options, &pid, error);
    if (r < 0)
        return r;
    r = process_identify(pid, &launch->keeper); /* before anybody may reap it */
    if (r < 0)
        return error_set_errno(error, -r, "cannot identify the keeper");
    return watcher_add_child(home->watcher, pid, error);
}

static int spawn_keeper(Launch *launch, Error *error) {
    _cleanup_close_ int listener = -1, log = open_keeper_log(launch->dir_fd, error);
    int r;
    if (log < 0)
        return log;
    /* The last keeper is gone: we hold the VM's lock. Its socket may still look alive for a moment,
     * in a child of another thread that has not come to its execve. */
    (void)unlinkat(launch->dir_fd, KEEPER_SOCKET_NAME, 0);
    listener = fd_unix_listen_at(launch->dir_fd, KEEPER_SOCKET_NAME, SOCK_SEQPACKET, 0600, 16);
    if (listener < 0)
        return error_set_errno(error, -listener, "cannot listen for the daemon");
    r = spawn_with(launch, log, listener, error);
    if (r < 0)
        return r;
    vm_set_nice(launch->row, &launch->keeper, starting_nice(launch));
    return 0;
}

static void end_keeper(Launch *launch) {
    if (launch->keeper.pid > 0) {
        (void)process_signal(&launch->keeper, SIGKILL);
        (void)process_wait_gone(&launch->keeper, clock_monotonic_usec() + 60 * USEC_PER_SEC);
    }
}

static void on_event(void *data, const json_t *event) {
    Launch *launch = data;
    const char *kind = json_string_value(json_object_get(event, "event"));
    const char *name = json_string_value(json_object_get(event, "name"));
    const char *message = json_string_value(json_object_get(event, "message"));
    if (str_equal(kind, "stage") && str_equal(name, "agent")) {
        /* the keeper begins this stage at the first byte of console or agent */
        launch->heard = true;
        if (!launch->restore) /* the image's programs come next */
            vm_set_nice(launch->row, &launch->keeper, NICE_RUNNING);
    }
    if (str_equal(kind, "stage") && name)
        operation_enter_at(launch->operation, name,
                           (uint64_t)json_integer_value(json_object_get(event, "at_us")));
    else if (str_equal(kind, "log") && message)
        operation_note(launch->operation, "%s", message);
}

/* The priority of a start (starting_nice) is for a guest that becomes itself in a moment. One that
 * does not, perhaps on purpose, goes on like any other. */
static int await_ready(Launch *launch, KeeperConnection *connection, int cancel_fd, json_t **ok,
                       Error *error) {
    /* The keeper keeps the bounds; this one is only for a keeper that does not. */
    uint64_t now = clock_monotonic_usec(), boosted = now + BOOST_USEC;
    uint64_t bound = now + launch->plan.ready_timeout_usec + 120 * USEC_PER_SEC;
    _cleanup_error_ Error late = ERROR_INIT;
    int r =
        keeper_await(connection, MIN_OF(boosted, bound), cancel_fd, on_event, launch, ok, &late);
    if (late.kind != ERROR_TIMEOUT || boosted >= bound || clock_monotonic_usec() < boosted)
        return r < 0 ? error_move(error, &late) : r;
    if (starting_nice(launch) < NICE_RUNNING)
        vm_set_nice(launch->row, &launch->keeper, NICE_RUNNING);
    return keeper_await(connection, bound, cancel_fd, on_event, launch, ok, error);
}

static int send_plan(const Launch *launch, KeeperConnection *connection, Error *error) {
    _cleanup_json_ json_t *plan = plan_to_json(&launch->plan);
    _cleanup_json_ json_t *request = json_pack("{s:s, s:O}", "op", "start", "plan", plan);
    return keeper_send(connection, request, launch->files.fds, launch->files.count, error);
}

/* The row keeps the keeper's identity before anything depends on it. */
static int remember_keeper(Launch *launch, Error *error) {
    launch->row->runtime.keeper = launch->keeper;
    launch->row->runtime.has_cgroup = vm_limits_need_cgroup(&launch->row->spec.limits);
    return vms_update(launch->home->store, launch->row, error);
}

/* Neither does anything before it has its plan. Without a zygote QEMU comes later, of its keeper,
 * and is where that is. */
static int limit(const Launch *launch, Error *error) {
    return launch->row->runtime.has_cgroup
               ? limits_enforce(launch->home, launch->row, launch->keeper.pid, launch->qemu, error)
               : 0;
}

static void read_answer(Launch *launch, const json_t *ok) {
    VmRow *row = launch->row;
    uint64_t ready = (uint64_t)json_integer_value(json_object_get(ok, "ready_at_us"));
    row_read_facts(row, ok);
    launch_note_ssh(launch->row, &launch->plan.identity,
                    json_is_true(json_object_get(ok, "ssh_key")));
    str_set(row->runtime.accel, launch->accel);
    str_set(row->runtime.machine, launch->plan.machine);
    if (ready)
        stages_end_at(&launch->operation->stages, ready);
    else
        stages_end(&launch->operation->stages);
    json_replace(&row->runtime.stages, json_from_stages(&launch->operation->stages));
}

/* While QEMU gets up; should the guest be quicker, its first frames wait in their socket. */
static int attach(const Launch *launch, Error *error) {
    const Plan *plan = &launch->plan;
    int fds[PLAN_CARDS_MAX];
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        bool has = i < plan->n_cards && plan->cards[i].peer_fd >= 0;
        fds[i] = has ? launch->files.fds[plan->cards[i].peer_fd] : -1;
    }
    return network_attach(launch->home, launch->row, fds, error);
}

static int await_start(Launch *launch, KeeperConnection *connection, int cancel_fd, json_t **ok,
                       Error *error) {
    int r = send_plan(launch, connection, error);
    if (r >= 0)
        r = attach(launch, error);
    return r < 0 ? r : await_ready(launch, connection, cancel_fd, ok, error);
}

static int start_in_keeper(Launch *launch, int cancel_fd, bool *silent, Error *error) {
    _cleanup_json_ json_t *ok = NULL;
    KeeperConnection connection = {.fd = -1};
    int r = remember_keeper(launch, error);
    if (r >= 0)
        r = limit(launch, error);
    if (r >= 0)
        r = keeper_connect(launch->dir_fd, &connection, error);
    if (r >= 0)
        r = await_start(launch, &connection, cancel_fd, &ok, error);
    keeper_close(&connection);
    if (r < 0) {
        *silent = !launch->heard && error && error->kind == ERROR_GUEST_NOT_READY;
        return r;
    }
    read_answer(launch, ok);
    return 0;
}

/* Only a VM that goes on as itself may come from a state in which the guest's programs ran. */
static int check_held(const Restore *restore, Error *error) {
    const SnapshotRow *snapshot = restore->snapshot;
    if (!restore->clone || !json_is_false(snapshot->data.held))
        return 0;
    (void)error_set(error, ERROR_CONFLICT, EPERM,
                    "a clone of it would run its programs under the name of %s before it is itself",
                    snapshot->vm);
    error_set_hint(error, "ramet resume %s, and fork it while it runs", snapshot->vm);
    return -EPERM;
}

static int prepare(Launch *launch, Error *error) {
    Home *home = launch->home;
    int r;
    plan_init(&launch->plan);
    launch->dir_fd = -1;
    r = host_probe(home, &launch->features, &launch->accel, error);
    if (r >= 0)
        r = vm_folder_open(home, launch->row->id, &launch->dir_fd, error);
    if (r < 0)
        return r;
    /* What an earlier run left must not be taken for this one's. */
    if (unlinkat(launch->dir_fd, "exit.json", 0) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "cannot remove exit.json");
    if (launch->restore)
        r = snapshot_check_host(launch->restore->snapshot, &launch->features, launch->accel, error);
    if (r >= 0 && launch->restore)
        r = check_held(launch->restore, error);
    if (r < 0)
        return r;
    if (launch->restore)
        network_device_restored(snapshot_network(launch->restore->snapshot),
                                launch->row->runtime.network_device);
    else
        network_device_of(&launch->row->spec, launch->row->runtime.network_device);
    operation_enter(launch->operation, "memory");
    /* Filling hot memory or making an initramfs may take longer than a keeper waits for its plan.
     */
    r = launch_plan_memory(launch, error);
    if (r >= 0 && !launch->restore)
        r = launch_make_plan(launch, error);
    if (r < 0)
        return r;
    /* What it runs under, for its snapshots: the host may change while it runs. */
    SnapshotFacts *facts = &launch->row->runtime.facts;
    snapshot_facts(&launch->features, launch->accel, launch->row, facts);
    if (launch->restore)
        str_replace(&facts->machine_options, launch->restore->snapshot->data.facts.machine_options);
    operation_enter(launch->operation, "keeper");
    r = spawn_keeper(launch, error);
    return r >= 0 && launch->restore ? launch_make_plan(launch, error) : r;
}

static int attempt(Launch *launch, int cancel_fd, bool *silent, Error *error) {
    int r;
    *silent = false;
    r = prepare(launch, error);
    if (r >= 0)
        r = start_in_keeper(launch, cancel_fd, silent, error);
    if (r >= 0)
        vm_set_nice(launch->row, &launch->keeper, ready_nice(launch));
    if (r < 0) {
        end_keeper(launch);
        network_detach(launch->home, launch->row);
        if (launch->row->runtime.has_cgroup)
            limits_forget(launch->home, launch->row);
        launch->row->runtime.keeper = (ProcessIdentity){0};
        return r;
    }
    return 0;
}

int vm_launch_from(Home *home, Operation *operation, VmRow *row, const Restore *restore,
                   int cancel_fd, bool *silent, Error *error) {
    _cleanup_(launch_free)
        Launch launch = {.home = home, .operation = operation, .row = row, .restore = restore};
    return attempt(&launch, cancel_fd, silent, error);
}

int vm_launch(Home *home, Operation *operation, VmRow *row, unsigned earlier, int cancel_fd,
              bool *silent, Error *error) {
    _cleanup_(launch_free)
        Launch launch = {.home = home, .operation = operation, .row = row, .earlier = earlier};
    return attempt(&launch, cancel_fd, silent, error);
}

/* ---- claiming ---- */

/* A keeper of an earlier version has forwards made by its QEMU. */
static json_t *claim_request(const Launch *launch) {
    _cleanup_json_ json_t *plan = plan_to_json(&launch->plan);
    const VmRow *row = launch->row;
    bool own = network_has_ports(row);
    return json_pack("{s:s, s:O, s:o, s:s, s:b}", "op", "claim", "identity",
                     json_object_get(plan, "identity"), "forwards",
                     own ? json_array() : vm_spec_forwards_to_json(&row->spec), "name", row->name,
                     "remove_on_exit", row->remove && row->attached);
}

static int send_claim(Launch *launch, int cancel_fd, json_t **ok, Error *error) {
    _cleanup_json_ json_t *request = claim_request(launch);
    uint64_t bound = launch->plan.ready_timeout_usec + 120 * USEC_PER_SEC;
    return keeper_call(launch->dir_fd, request, NULL, 0, clock_monotonic_usec() + bound, cancel_fd,
                       on_event, launch, ok, error);
}

int vm_claim(Home *home, Operation *operation, VmRow *row, bool keep, int cancel_fd, Error *error) {
    const Restore how = {.boot = "claimed", .clone = true, .keep = keep};
    char macs[GUEST_MACS_SIZE];
    _cleanup_(launch_free)
        Launch launch = {.home = home, .operation = operation, .row = row, .restore = &how};
    _cleanup_json_ json_t *ok = NULL;
    int r;
    plan_init(&launch.plan);
    launch.dir_fd = -1;
    launch.accel = str_equal(row->runtime.accel, "kvm") ? "kvm" : "tcg";
    (void)snprintf(launch.plan.machine, sizeof(launch.plan.machine), "%s", row->runtime.machine);
    r = vm_folder_open(home, row->id, &launch.dir_fd, error);
    if (r < 0)
        return r;
    launch.plan.qemu = str_copy("");
    launch.plan.cmdline = str_copy("");
    str_set(macs, row->runtime.guest_macs);
    launch_plan_who(&launch);
    if (!str_equal(row->runtime.guest_macs, macs)) /* its networks are to know it so */
        r = vms_update(home->store, row, error);
    if (r >= 0)
        r = network_attach_kept(home, row, error);
    if (r >= 0 && !vm_limits_are_none(&row->spec.limits))
        r = vm_limit_running(home, row, error);
    if (r >= 0)
        r = send_claim(&launch, cancel_fd, &ok, error);
    if (r >= 0)
        read_answer(&launch, ok);
    return r;
}
