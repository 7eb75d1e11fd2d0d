/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/tasks/start.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "keeper/process/sandbox.h"
#include "keeper/qemu/batch.h"
#include "keeper/qemu/throttle.h"
#include "keeper/tasks/room.h"
#include "memory/diff.h"

/* A start, from the plan to ready, top to bottom:
 *
 *     start_begin ─▶ boot or restore ─▶ set_timers ┄▶ on_welcomed ┄▶ on_itself ─▶ become
 *     start_claim ──────────────────────┘
 *
 * What comes before set_timers runs straight through and blocks the loop until QEMU is up, some
 * 30 ms; nobody else can have a request yet. The rest waits in the loop: for a sign of life, for
 * the agent's WELCOME, for its word that the identity is applied (handshake.c). Each stage is told
 * with the time when it began.
 *
 * When anything fails, QEMU is killed and the error told once it is gone (start_end), so that the
 * daemon can clean up as soon as it reads it. When QEMU ends by itself meanwhile, its last words
 * are the error. The end of the daemon's connection changes nothing: the next daemon will ask for
 * the status. */

#define CONSOLE_LINES 10
#define SPIN_CHECK_USEC USEC_PER_SEC

static void fail(Vm *vm, Error *error);
static void set_timers(Vm *vm);
static void become(Vm *vm, VmState state);

static void on_asker_gone(void *data) {
    Vm *vm = data;
    vm->start.reply = NULL;
}

static void begin(Vm *vm, Reply *reply) {
    vm->state = VM_STARTING;
    vm->start.reply = reply;
    reply_keep(reply, on_asker_gone, vm);
}

/* The folder, the memory base and the other ends of the cards are kept; everything else is for
 * QEMU. A QEMU that the zygote made for us sees to its own access to /dev/kvm; one of our own
 * inherits ours. */
static int enter_sandbox(Vm *vm, const int *fds, Error *error) {
    const Plan *plan = &vm->plan;
    bool kvm = vm->child.socket < 0 && str_equal(plan->accel, "kvm");
    vm->vm_dir_fd = fcntl(fds[plan->console_dir_fd], F_DUPFD_CLOEXEC, 3);
    vm->memory_fd = fcntl(fds[plan->memory_fd], F_DUPFD_CLOEXEC, 3);
    for (size_t i = 0; i < plan->n_cards; i++)
        if (plan->cards[i].peer_fd >= 0)
            vm->peer_fds[i] = fcntl(fds[plan->cards[i].peer_fd], F_DUPFD_CLOEXEC, 3);
    if (vm->vm_dir_fd < 0 || vm->memory_fd < 0)
        return error_set_errno(error, errno, "cannot keep the VM's folder and memory base");
    int r = machine_open_logs(&vm->machine, vm->vm_dir_fd, plan, error);
    return r == 0 ? sandbox_drop_privileges(plan->uid, plan->gid, kvm, error) : r;
}

static int launch(Vm *vm, const int *fds, Error *error) {
    int r = launch_qemu(&vm->machine, &vm->plan, fds, &vm->child, &vm->channel.socket.fd, error);
    if (r == 0)
        r = machine_watch(&vm->machine, error);
    if (r == 0 && agent_channel_watch(&vm->channel) < 0)
        r = error_set_errno(error, errno, "cannot watch QEMU");
    return r;
}

/* A clone's cable is out until it has its own hardware address and name, so that it never speaks
 * with its source's. The backend's end is what is pulled: the card's own state comes with the
 * snapshot, and the guest neither sees the cable go nor spends its first moments on that. */
static bool starts_unplugged(const Plan *plan, const PlanCard *card) {
    return card->network != PLAN_NETWORK_NONE && plan->boot == PLAN_BOOT_RESTORE &&
           !plan->kernel_only; /* which has spoken with nobody */
}

static json_t *cable(size_t card, bool in) {
    char name[QEMU_NETDEV_NAME_SIZE];
    qemu_netdev(card, name);
    return json_pack("{s:s, s:b}", "name", name, "up", in);
}

static int unplug_all(const Plan *plan, Batch *batch, Error *error) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < plan->n_cards; i++)
        if (starts_unplugged(plan, &plan->cards[i]))
            r = batch_add(batch, "set_link", cable(i, false), -1, error);
    return r;
}

static int plug_in_all(Vm *vm, Error *error) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < vm->plan.n_cards; i++)
        if (starts_unplugged(&vm->plan, &vm->plan.cards[i]) && !vm->plan.cards[i].unplugged)
            r = machine_call(&vm->machine, "set_link", cable(i, true), NULL, error);
    return r;
}

static int boot(Vm *vm, Error *error) {
    Batch batch = {.qmp = vm->machine.qmp};
    int r = batch_add(&batch, "qmp_capabilities", NULL, -1, error);
    if (r == 0)
        r = throttle_add(&vm->plan, &batch, error);
    if (r == 0)
        r = sandbox_filter_calls(error);
    if (r == 0)
        r = batch_wait_all(&batch, error);
    machine_process_events(&vm->machine);
    return r;
}

/* The loop blocks until the guest has run, so what is to be said goes now. */
static int greet_over_channel(Vm *vm, const uint8_t *marker, Error *error) {
    int r = handshake_greet(&vm->handshake, marker, error);
    (void)agent_channel_flush(&vm->channel);
    return r;
}

/* The greeting is made here and not before, so that its time is as near as can be. It may come
 * after the guest runs: its agent waits for it. */
static int greet_by_mailbox(Vm *vm, GuestRam *ram, Error *error) {
    const Plan *plan = &vm->plan;
    int r = handshake_greet(&vm->handshake, plan->marker, error);
    if (r == 0)
        r = mailbox_post(&vm->channel.mailbox, ram, vm_memory_offset(vm, plan->mailbox),
                         plan->marker, error);
    (void)agent_channel_flush(&vm->channel);
    return r < 0 ? r : 0;
}

static int add_state(Batch *batch, int state_fd, Error *error) {
    if (lseek(state_fd, 0, SEEK_SET) < 0)
        return error_set_errno(error, errno, "cannot rewind the device state");
    return batch_add(batch, "getfd", json_pack("{s:s}", "fdname", "s"), state_fd, error);
}

static int add_load(Batch *batch, Error *error) {
    return batch_add(batch, "migrate-incoming", json_pack("{s:s}", "uri", "fd:s"), -1, error);
}

static int write_patches(Vm *vm, const int *fds, const GuestRam *ram, Error *error) {
    const Plan *plan = &vm->plan;
    int r = 0;
    reply_stage(vm->start.reply, "patch");
    for (size_t i = 0; r == 0 && i < plan->n_patches; i++)
        r = memory_diff_patch(fds[plan->patch_fds[i]], ram, error);
    return r;
}

static int wait_loaded(Vm *vm, Batch *batch, Error *error) {
    static const char *const resume[] = {"RESUME", NULL};
    _cleanup_json_ json_t *event = NULL;
    int r = batch_wait_all(batch, error); /* which may come after the event */
    if (r == 0)
        r = qmp_wait_event(vm->machine.qmp, resume, machine_deadline(), &event, error);
    vm->start.loaded = r == 0;
    machine_process_events(&vm->machine);
    return r;
}

/* A restore takes about as long as QEMU's own start, so as much as possible is on its way before
 * QEMU even runs: the monitor's commands and the greeting of the agent wait in their sockets. QEMU
 * carries the commands out one after the other once it is up (it takes the next one only after the
 * last one's reply, so that descriptors stay with their commands), and the guest finds the greeting
 * as soon as it runs, in the agent's mailbox, or, where the snapshot has none, in the channel,
 * which takes no bytes until then. Only with patches the load must wait: their pages are written
 * into QEMU's mapping of the memory base after it exists and before the devices are loaded.
 *
 * QEMU ends when it cannot load the state; its last words are the error. When it can, it lets the
 * guest run and says RESUME. */
static int restore(Vm *vm, const int *fds, Error *error) {
    const Plan *plan = &vm->plan;
    Batch batch = {.qmp = vm->machine.qmp};
    _cleanup_guest_ram_ GuestRam ram = GUEST_RAM_INIT;
    vm->boot = "restored";
    int r = batch_add(&batch, "qmp_capabilities", NULL, -1, error);
    if (r == 0 && !plan->mailbox)
        r = greet_over_channel(vm, plan->marker, error);
    if (r == 0)
        r = unplug_all(plan, &batch, error);
    if (r == 0)
        r = throttle_add(plan, &batch, error);
    if (r == 0)
        r = add_state(&batch, fds[plan->state_fd], error);
    if (r == 0 && plan->n_patches == 0)
        r = add_load(&batch, error);
    if (r == 0)
        r = sandbox_filter_calls(error);
    if (r == 0)
        r = batch_wait(&batch, 1, error); /* QEMU is up, and its memory is there */
    if (r == 0 && (plan->n_patches > 0 || plan->mailbox))
        r = guest_ram_open(vm->machine.process.pid, vm->memory_fd, plan->memory_bytes, &ram, error);
    if (r == 0 && plan->n_patches > 0)
        r = write_patches(vm, fds, &ram, error);
    if (r == 0 && plan->n_patches > 0)
        r = add_load(&batch, error);
    if (r < 0)
        return r;
    reply_stage(vm->start.reply, "load");
    if (plan->mailbox)
        r = greet_by_mailbox(vm, &ram, error);
    return r == 0 ? wait_loaded(vm, &batch, error) : r;
}

static int run(Vm *vm, const int *fds, Error *error) {
    bool restores = vm->plan.boot == PLAN_BOOT_RESTORE;
    reply_stage(vm->start.reply, "sandbox");
    int r = enter_sandbox(vm, fds, error);
    if (r < 0)
        return r;
    reply_stage(vm->start.reply, "qemu");
    r = launch(vm, fds, error);
    if (r == 0)
        r = restores ? restore(vm, fds, error) : boot(vm, error);
    if (r < 0)
        return r;
    vm->start.heard = restores;
    reply_stage(vm->start.reply, restores ? "agent" : "kernel");
    return 0;
}

/* QEMU is dead or dying, and has said why on its error output: its monitor or its memory went away.
 */
static bool qemu_went_away(const Vm *vm, int r) {
    return vm->machine.pid.fd >= 0 && (r == -ECONNRESET || r == -EPIPE || r == -ESRCH);
}

int start_begin(Vm *vm, Reply *reply, const json_t *request, const int *fds, size_t n_fds,
                Error *error) {
    if (vm->state != VM_WAITING)
        return error_set(error, ERROR_CONFLICT, 0, "this keeper has started its VM already");
    Error failure = ERROR_INIT;
    (void)prctl(PR_SET_PDEATHSIG, 0); /* from here on we outlive the daemon */
    begin(vm, reply);
    handshake_expect(&vm->handshake);
    int r = plan_from_json(json_object_get(request, "plan"), n_fds, &vm->plan, &failure);
    if (r == 0)
        r = run(vm, fds, &failure);
    if (qemu_went_away(vm, r)) {
        error_clear(&failure);
        r = 0;
    }
    if (r < 0)
        fail(vm, &failure);
    else
        set_timers(vm);
    return 0;
}

/* The claim */

static int read_claim(const json_t *request, Plan *plan, Error *error) {
    const char *name = NULL;
    bool remove = plan->remove_on_exit, has_keys = plan->identity.new_ssh_keys;
    int r = json_opt_string("claim", request, "name", &name, error);
    if (r == 0)
        r = json_opt_bool("claim", request, "remove_on_exit", &remove, error);
    if (r == 0)
        r = plan_identity_from_json(json_object_get(request, "identity"), &plan->identity, error);
    if (r < 0)
        return r;
    if (name)
        (void)snprintf(plan->name, sizeof(plan->name), "%s", name);
    plan->remove_on_exit = remove;
    plan->identity.new_ssh_keys &= !has_keys; /* they are its own since it was made warm */
    plan->start_paused = false;
    return 0;
}

/* A warm VM gets its name: the second half of a start. Its virtual CPUs go on, its agent is greeted
 * anew, and from there on it is a start like any other, failures included. It was somebody before,
 * under a name of its own, so that only what changes is left to do. */
int start_claim(Vm *vm, Reply *reply, const json_t *request, Error *error) {
    Batch batch = {.qmp = vm->machine.qmp};
    Error failure = ERROR_INIT;
    if (vm->state != VM_WARM)
        return error_set(error, ERROR_CONFLICT, 0, "the VM is %s, not warm", keeper_state_name(vm));
    int r = read_claim(request, &vm->plan, error);
    if (r < 0)
        return r;
    begin(vm, reply);
    vm->start.answered_at_usec = 0;
    vm->boot = "claimed";
    reply_stage(reply, "claim");
    r = batch_add(&batch, "cont", NULL, -1, &failure);
    if (r == 0)
        r = greet_over_channel(vm, vm->channel.link.marker, &failure);
    int went_on = batch_wait_all(&batch, r == 0 ? &failure : NULL);
    machine_process_events(&vm->machine);
    if (r < 0 || went_on < 0) {
        fail(vm, &failure);
        return 0;
    }
    set_timers(vm);
    reply_stage(reply, "agent");
    return 0;
}

/* Waiting */

static const char *awaited(const Vm *vm) {
    if (vm->start.answered_at_usec)
        return "the agent to apply its identity";
    if (vm->start.heard && vm->channel.link.state != LINK_SILENT)
        return "the agent's answer to the greeting";
    return vm->start.heard ? "the agent's announcement" : "a first sign of life";
}

static void fail_waiting(Vm *vm, const char *what, uint64_t usec) {
    _cleanup_free_ char *lines = logfile_tail(&vm->machine.console_log, CONSOLE_LINES);
    _cleanup_free_ char *time = format_duration(usec);
    Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_GUEST_NOT_READY, ETIMEDOUT,
                    "the guest did not get ready: %s for %s, waiting for %s; console: %s%s", what,
                    time, awaited(vm), lines[0] ? "\n" : "empty", lines);
    error_set_hint(&error, "look at the console with ramet logs");
    fail(vm, &error);
}

static void on_silence(void *data) {
    Vm *vm = data;
    fail_waiting(vm, "nothing was heard of it", vm->plan.silence_timeout_usec);
}

/* Of a guest that boots something is heard after a second or two of processor time. Whose kernel
 * took its timer for a slower one, since it was not let run while it measured (docs/cold-boot.md),
 * spins for ever. */
static void on_spin_check(void *data) {
    Vm *vm = data;
    uint64_t used = process_cpu_usec(vm->machine.process.pid);
    if (vm->start.heard)
        vm->start.spin_timer = loop_remove(vm->start.spin_timer);
    else if (used >= vm->plan.silence_cpu_usec)
        fail_waiting(vm, "nothing was heard of it while it ran", used);
    else
        loop_set_timer(vm->start.spin_timer, clock_monotonic_usec() + SPIN_CHECK_USEC);
}

/* An image that boots by itself may bring nothing that gets the agent into it. It runs all the
 * same; should an agent come later, it is given its identity then. */
static void go_without_agent(Vm *vm) {
    _cleanup_free_ char *time = format_duration(vm->plan.ready_timeout_usec);
    vm->start.without_agent = true;
    reply_note(
        vm->start.reply,
        str_format("no agent answered within %s, so the VM runs without one: its image lacks "
                   "cloud-init, or that takes no NoCloud disk; exec, cp, snapshots and SSH "
                   "keys need it (see ramet logs)",
                   time));
    become(vm, VM_RUNNING);
}

static void on_ready_timeout(void *data) {
    Vm *vm = data;
    if (vm->plan.agent_optional && !vm->start.answered_at_usec)
        go_without_agent(vm);
    else
        fail_waiting(vm, "it was given its time", vm->plan.ready_timeout_usec);
}

static uint64_t deadline(uint64_t timeout_usec) {
    return timeout_usec ? clock_monotonic_usec() + timeout_usec : UINT64_MAX;
}

static void set_timers(Vm *vm) {
    Start *start = &vm->start;
    start->silence_timer =
        loop_add_timer(vm->loop, deadline(vm->plan.silence_timeout_usec), on_silence, vm);
    start->ready_timer =
        loop_add_timer(vm->loop, deadline(vm->plan.ready_timeout_usec), on_ready_timeout, vm);
    if (vm->plan.silence_cpu_usec)
        start->spin_timer = loop_add_timer(vm->loop, deadline(SPIN_CHECK_USEC), on_spin_check, vm);
}

/* After a failure QEMU still runs for a moment, and its agent may go on answering. */
static bool goes_on(const Vm *vm) {
    return (vm->state == VM_STARTING || vm->start.without_agent) &&
           vm->start.error.kind == ERROR_NONE;
}

void start_heard(Vm *vm) {
    if (vm->state != VM_STARTING)
        return;
    if (!vm->start.heard)
        reply_stage(vm->start.reply, "agent");
    vm->start.heard = true;
    if (vm->start.silence_timer)
        loop_set_timer(vm->start.silence_timer, deadline(vm->plan.silence_timeout_usec));
}

/* Restored and not booted anew: the agent must know what only its memory held. */
static int check_welcome(const Vm *vm, Error *error) {
    const LinkWelcome *welcome = &vm->channel.welcome;
    if (welcome->version != AGENT_PROTOCOL_VERSION)
        return error_set(error, ERROR_GUEST_NOT_READY, EPROTO,
                         "the agent speaks protocol %llu, this is %d",
                         (unsigned long long)welcome->version, AGENT_PROTOCOL_VERSION);
    if (vm->plan.boot == PLAN_BOOT_COLD)
        return 0;
    if (memcmp(welcome->ram_nonce, vm->plan.ram_nonce, AGENT_NONCE_SIZE) != 0 ||
        welcome->counter <= vm->plan.counter)
        return error_set(error, ERROR_GUEST_NOT_READY, EPROTO,
                         "the guest was not restored: its memory is not the snapshot's");
    return 0;
}

static void on_announced(void *data) {
    start_heard(data);
}

static void on_program_ended(void *data) {
    Vm *vm = data;
    vm_tell(vm, json_pack("{s:s, s:o}", "event", "program", "program", vm_describe_program(vm)));
}

static void on_welcomed(void *data) {
    Vm *vm = data;
    if (!goes_on(vm))
        return;
    Error error = ERROR_INIT;
    start_heard(vm);
    vm->start.answered_at_usec = clock_monotonic_usec();
    int r = check_welcome(vm, &error);
    if (r == 0) {
        reply_stage(vm->start.reply, "identity");
        r = handshake_welcomed(&vm->handshake, &error);
    }
    if (r < 0)
        fail(vm, &error);
}

static void on_applied(void *data, char *note) {
    Vm *vm = data;
    reply_note(vm->start.reply, note);
}

/* Ready, or warm */

static void stop_waiting(Vm *vm) {
    vm->start.silence_timer = loop_remove(vm->start.silence_timer);
    vm->start.spin_timer = loop_remove(vm->start.spin_timer);
    vm->start.ready_timer = loop_remove(vm->start.ready_timer);
    mailbox_finish(&vm->channel.mailbox);
}

static json_t *describe(const Vm *vm) {
    const ProcessIdentity *process = &vm->machine.process;
    bool restored = vm->plan.boot == PLAN_BOOT_RESTORE;
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:b, s:o}", "state", keeper_state_name(vm),
        "boot", vm->boot, "accel", vm->plan.accel, "qemu_pid", (json_int_t)process->pid,
        "qemu_start_ticks", (json_int_t)process->start_ticks, "answered_at_us",
        (json_int_t)vm->start.answered_at_usec, "ready_at_us", (json_int_t)vm->start.ready_at_usec,
        "agent_version", vm->channel.welcome.agent_version, "ssh_key", vm->handshake.took_ssh_key,
        "held", restored ? json_boolean(vm->handshake.exclusive) : json_null());
    json_object_update_missing_new(json, vm_describe_agent(vm));
    return json;
}

static void become(Vm *vm, VmState state) {
    stop_waiting(vm);
    vm->start.ready_at_usec = clock_monotonic_usec();
    vm->state = state;
    pulse_start(&vm->pulse, vm->machine.process.pid, vm->plan.cpus);
    reply_answer(vm->start.reply, describe(vm));
    vm->start.reply = NULL;
    vm_change_state(vm, state);
}

/* A booted kernel has what makes it this VM's. From here on this is a boot: what waits for an
 * answer to the thaw is given up, and the agent is greeted when it announces itself. */
static void boot_on(Vm *vm) {
    (void)agent_channel_flush(&vm->channel);
    link_close(&vm->channel.link);
    vm->plan.boot = PLAN_BOOT_COLD;
    vm->plan.kernel_only = false;
    vm->start.answered_at_usec = 0;
    handshake_expect(&vm->handshake);
    reply_stage(vm->start.reply, "disks");
}

static void on_itself(void *data) {
    Vm *vm = data;
    Error error = ERROR_INIT;
    if (vm->plan.kernel_only && vm->plan.boot == PLAN_BOOT_RESTORE) {
        boot_on(vm);
        return;
    }
    bool warm = vm->plan.start_paused && vm->plan.boot == PLAN_BOOT_RESTORE;
    int r = 0;
    if (vm->start.without_agent) { /* ready before */
        vm->start.without_agent = false;
        return;
    }
    if (warm)
        r = machine_call(&vm->machine, "stop", NULL, NULL, &error);
    else
        r = plug_in_all(vm, &error);
    if (r < 0)
        fail(vm, &error);
    else
        become(vm, warm ? VM_WARM : VM_RUNNING);
}

/* Failing */

static void fail(Vm *vm, Error *error) {
    if (vm->start.error.kind == ERROR_NONE)
        (void)error_move(&vm->start.error, error);
    error_clear(error);
    vm->handshake.active = false;
    stop_waiting(vm);
    machine_kill(&vm->machine, "start-failed");
}

void start_lacks_room(Vm *vm) {
    Error error = ERROR_INIT;
    (void)room_error(&error);
    fail(vm, &error);
}

static void on_handshake_failed(void *data, Error *error) {
    fail(data, error);
}

const HandshakeHandlers start_handshake_handlers = {
    .applied = on_applied, .done = on_itself, .failed = on_handshake_failed};

static void on_agent_failed(void *data, const char *why) {
    Vm *vm = data;
    Error error = ERROR_INIT;
    if (vm->state != VM_STARTING)
        return;
    (void)error_set(&error, ERROR_GUEST_NOT_READY, 0, "the guest cannot start: %s", why);
    fail(vm, &error);
}

static void on_received(void *data) {
    Vm *vm = data;
    pulse_heard(&vm->pulse);
}

const AgentChannelHandlers start_channel_handlers = {.announced = on_announced,
                                                     .welcomed = on_welcomed,
                                                     .program_ended = on_program_ended,
                                                     .failed = on_agent_failed,
                                                     .received = on_received};

bool start_has_ended(const Vm *vm) {
    return vm->start.error.kind != ERROR_NONE && vm->machine.pid.fd < 0;
}

static void describe_exit(const Vm *vm, Error *error) {
    const Machine *machine = &vm->machine;
    _cleanup_free_ char *words = logfile_tail(&machine->error_log, CONSOLE_LINES);
    _cleanup_free_ char *lines = logfile_tail(&machine->console_log, CONSOLE_LINES);
    bool heard = machine->console_log.total_bytes > 0;
    if (vm->plan.boot == PLAN_BOOT_RESTORE && !vm->start.loaded) {
        (void)error_set(error, ERROR_FAILED, 0, "QEMU ended while it loaded the device state%s%s",
                        words[0] ? ": " : "", words);
        error_set_hint(error, "the snapshot's state is damaged, or of another QEMU or machine");
        return;
    }
    (void)error_set(error, heard ? ERROR_GUEST_NOT_READY : ERROR_FAILED, 0,
                    "QEMU ended before the guest was ready%s%s%s%s%s%s",
                    machine->shutdown_reason[0] ? ": " : "", machine->shutdown_reason,
                    words[0] ? ": " : "", words, heard ? "; console:\n" : "", heard ? lines : "");
}

void start_end(Vm *vm) {
    stop_waiting(vm);
    if (vm->start.error.kind == ERROR_NONE)
        describe_exit(vm, &vm->start.error);
    log_error("start failed: %s", error_message(&vm->start.error));
    reply_fail(vm->start.reply, &vm->start.error);
    vm->start.reply = NULL;
}
