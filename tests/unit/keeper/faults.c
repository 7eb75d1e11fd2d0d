/* SPDX-License-Identifier: Apache-2.0 */
/* Restores, claims and snapshots of which one step goes wrong, where a real QEMU cannot be made to
 * fail: the real ramet-keeper with a scripted QEMU. faults.c KEEPER FAKE_QEMU. */
#include <errno.h>
#include <sys/socket.h>

#include "proto/agent.h"
#include "unit/keeper/vm.h"

/* One step goes wrong in every QEMU from now on; NULL: none. */
static void script(const char *what, const char *step) {
    _cleanup_free_ char *text = step ? str_format("%s:%s", what, step) : NULL;
    if (text)
        setenv("FAKE_QEMU", text, 1);
    else
        unsetenv("FAKE_QEMU");
}

static void state_is(Vm *vm, const char *state) {
    _cleanup_json_ json_t *status = NULL;
    CHECK_INT(vm_ask(vm, "status", &status, NULL), 0);
    CHECK_STR(json_string_value(json_object_get(status, "state")), state);
}

static void await_state(Vm *vm, const char *state) {
    KeeperConnection watcher = {.fd = -1};
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "watch");
    CHECK_INT(keeper_connect(vm->folder_fd, &watcher, NULL), 0);
    CHECK_INT(keeper_send(&watcher, request, NULL, 0, NULL), 0);
    for (bool found = false; !found;) {
        _cleanup_json_ json_t *event = NULL;
        CHECK_INT(keeper_receive(&watcher, FAR, -1, &event, NULL), 0);
        found = str_equal(json_string_value(json_object_get(event, "state")), state);
    }
    keeper_close(&watcher);
}

/* The VM as if restored from a snapshot: an empty state, and the marker that the fake listens for.
 */
static void restore_begin(Vm *vm) {
    vm_begin(vm, "echo");
    Plan *plan = &vm->plan;
    plan->boot = PLAN_BOOT_RESTORE;
    plan->state_fd = 2;
    plan->n_cards = 1;
    plan->cards[0] = (PlanCard){.network = PLAN_NETWORK_DGRAM, .fd = 2, .peer_fd = PLAN_NO_FD};
    memcpy(plan->marker, AGENT_MARKER, sizeof(plan->marker));
    memcpy(plan->ram_nonce, "0123456789abcdef", sizeof(plan->ram_nonce));
}

/* patch_fd -1: none. */
static int restore(Vm *vm, int patch_fd, Error *error) {
    _cleanup_close_ int state_fd = memfd_create("state", MFD_CLOEXEC);
    int fds[] = {vm->blank_fd, vm->folder_fd, state_fd, patch_fd};
    if (patch_fd >= 0)
        vm->plan.patch_fds[vm->plan.n_patches++] = 3;
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:o}", "op", "start", "plan", plan_to_json(&vm->plan));
    return keeper_call(vm->folder_fd, request, fds, patch_fd < 0 ? 3 : 4, FAR, -1, on_stage, vm,
                       &vm->ok, error);
}

/* Ended by itself, with that cause in exit.json. */
static void ends_with(Vm *vm, const char *cause) {
    siginfo_t info;
    CHECK_INT(waitid(P_PID, (id_t)vm->keeper, &info, WEXITED | WNOWAIT), 0);
    check_cause(vm, cause);
    vm_end(vm);
}

/* ---- restores ---- */

/* QEMU was quicker than the keeper: greeting, replies and RESUME are there before its first look.
 */
static void restores_when_all_comes_at_once(void) {
    script(NULL, NULL);
    for (int i = 0; i < 5; i++) {
        Vm vm;
        _cleanup_error_ Error error = ERROR_INIT;
        restore_begin(&vm);
        CHECK_INT(restore(&vm, -1, &error), 0);
        CHECK_STR(json_string_value(json_object_get(vm.ok, "boot")), "restored");
        state_is(&vm, "running");
        vm_kill(&vm);
    }
}

/* A diff of one page with content (memory/diff.h), or, damaged, of a page beyond the memory. */
static int make_diff(bool damaged) {
    static uint64_t text[1024];
    memset(text, 0, sizeof(text));
    memcpy(text, "RAMETMD1", 8);
    text[1] = 4096 | (uint64_t)1 << 32;
    text[2] = VM_MEMORY_BYTES;
    text[3] = 1;
    text[4] = damaged ? VM_MEMORY_BYTES : 5;
    text[5] = 1 | (uint64_t)1 << 32;
    text[512] = 42;
    int fd = memfd_create("diff", MFD_CLOEXEC);
    CHECK_INT(fd_write_full(fd, text, sizeof(text)), 0);
    return fd;
}

static void restores_patches(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_close_ int good = make_diff(false), bad = make_diff(true);
    script(NULL, NULL);
    restore_begin(&vm);
    CHECK_INT(restore(&vm, good, &error), 0);
    vm_kill(&vm);
    restore_begin(&vm);
    CHECK(restore(&vm, bad, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    ends_with(&vm, "start-failed");
}

/* The greeting goes into the mailbox where there is one, also beside patches, else over the port. A
 * guest may say anything of where it is. */
static void posts_to_the_mailbox(void) {
    static const struct {
        const char *is_at;
        uint64_t said;
    } cases[] = {{"3145728", 3145728},        {NULL, 3145728},     {NULL, 7},
                 {NULL, VM_MEMORY_BYTES - 8}, {NULL, 4 * GIB + 1}, {NULL, INT64_MAX}};
    for (size_t i = 0; i < ARRAY_SIZE(cases) + 1; i++) {
        Vm vm;
        _cleanup_error_ Error error = ERROR_INIT;
        bool patched = i == ARRAY_SIZE(cases);
        _cleanup_close_ int diff = patched ? make_diff(false) : -1;
        script("mail", cases[patched ? 0 : i].is_at);
        restore_begin(&vm);
        vm.plan.mailbox = cases[patched ? 0 : i].said;
        CHECK_INT(restore(&vm, diff, &error), 0);
        state_is(&vm, "running");
        vm_kill(&vm);
    }
}

/* What a guest says there is held against the same rules as what comes through the port. */
static void passes_over_junk_in_the_mailbox(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    script("junk", "3145728");
    restore_begin(&vm);
    vm.plan.mailbox = 3145728;
    CHECK_INT(restore(&vm, -1, &error), 0);
    state_is(&vm, "running");
    vm_kill(&vm);
}

/* The identity was long on its way, or the WELCOME: the guest's clock is wrong, and says so. */
static void corrects_the_clock(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *ok = NULL;
    script("show", "clock");
    restore_begin(&vm);
    CHECK_INT(restore(&vm, -1, &error), 0);
    CHECK_INT(vm_ask(&vm, "stop", &ok, NULL), 0);
    ends_with(&vm, "poweroff");
}

static void does_not_wait_for_a_clock_that_is_right(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    script("show", "near");
    restore_begin(&vm);
    CHECK_INT(restore(&vm, -1, &error), 0);
    vm_kill(&vm);
}

static void refuses_another_memory(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    script(NULL, NULL);
    restore_begin(&vm);
    vm.plan.ram_nonce[0] ^= 1;
    vm.plan.cards[0].network = PLAN_NETWORK_NONE; /* so that nothing but the check holds it up */
    CHECK(restore(&vm, -1, &error) < 0);
    CHECK_CONTAINS(error.message, "not restored");
    ends_with(&vm, "start-failed");
    restore_begin(&vm);
    vm.plan.counter = 1; /* the fake's first answer */
    CHECK(restore(&vm, -1, &error) < 0);
    CHECK_CONTAINS(error.message, "not restored");
    ends_with(&vm, "start-failed");
}

/* Programs of the guest ran before it had its identity: a clone is given up, and a VM that wakes as
 * who it was goes on and says so. */
static void judges_the_hold(void) {
    static const char *const steps[] = {"hold", "welcome"};
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        Vm vm;
        _cleanup_error_ Error error = ERROR_INIT;
        script("fail", steps[i]);
        restore_begin(&vm);
        vm.plan.identity.clone = true;
        CHECK(restore(&vm, -1, &error) < 0);
        CHECK_INT(error.kind, ERROR_GUEST_NOT_READY);
        CHECK_CONTAINS(error.message, "before it was itself");
        ends_with(&vm, "start-failed");
        restore_begin(&vm);
        CHECK_INT(restore(&vm, -1, NULL), 0);
        CHECK(json_is_false(json_object_get(vm.ok, "held")));
        state_is(&vm, "running");
        vm_kill(&vm);
    }
    Vm vm;
    script(NULL, NULL);
    restore_begin(&vm);
    vm.plan.identity.clone = true;
    CHECK_INT(restore(&vm, -1, NULL), 0);
    CHECK(json_is_true(json_object_get(vm.ok, "held")));
    vm_kill(&vm);
}

static void restore_steps_fail(void) {
    static const char *const steps[] = {"qmp_capabilities", "getfd", "migrate-incoming",
                                        "set_link"};
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        Vm vm;
        _cleanup_error_ Error failed = ERROR_INIT, died = ERROR_INIT;
        script("fail", steps[i]);
        restore_begin(&vm);
        CHECK(restore(&vm, -1, &failed) < 0);
        CHECK_CONTAINS(failed.message, steps[i]);
        CHECK_CONTAINS(failed.message, "no luck");
        ends_with(&vm, "start-failed");
        script("die", steps[i]);
        restore_begin(&vm);
        CHECK(restore(&vm, -1, &died) < 0);
        CHECK_CONTAINS(died.message, "QEMU ended");
        ends_with(&vm, "start-failed");
    }
}

/* An agent that hears no greeting, or takes no identity, is waited for as long as in a boot. */
static void restores_are_bounded(void) {
    for (int greeted = 0; greeted < 2; greeted++) {
        Vm vm;
        _cleanup_error_ Error error = ERROR_INIT;
        script("hang", "identity");
        restore_begin(&vm);
        vm.plan.marker[0] ^= (uint8_t)!greeted;
        vm.plan.ready_timeout_usec = 300 * USEC_PER_MSEC;
        CHECK(restore(&vm, -1, &error) < 0);
        CHECK_INT(error.kind, ERROR_GUEST_NOT_READY);
        CHECK_CONTAINS(error.message, "it was given its time");
        ends_with(&vm, "start-failed");
    }
}

/* ---- claims ---- */

static int claim(Vm *vm, Error *error) {
    _cleanup_json_ json_t *plan = plan_to_json(&vm->plan), *ok = NULL;
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:O, s:s}", "op", "claim", "identity", json_object_get(plan, "identity"),
                  "name", "claimed");
    return keeper_call(vm->folder_fd, request, NULL, 0, FAR, -1, on_stage, vm, &ok, error);
}

static void warm_up(Vm *vm) {
    _cleanup_error_ Error error = ERROR_INIT;
    restore_begin(vm);
    vm->plan.start_paused = true;
    if (restore(vm, -1, &error) < 0)
        fprintf(stderr, "%s\n", error.message);
    CHECK(vm->ok);
    state_is(vm, "warm");
}

static void claims(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    script(NULL, NULL);
    warm_up(&vm);
    CHECK_INT(claim(&vm, &error), 0);
    state_is(&vm, "running");
    CHECK(claim(&vm, &error) < 0); /* once */
    CHECK_INT(error.kind, ERROR_CONFLICT);
    vm_kill(&vm);
}

static void claim_steps_fail(void) {
    static const struct {
        const char *fail, *die, *step;
    } cases[] = {{"fail", "die", "cont"},
                 {"1*fail", "1*die", "set_link"}}; /* the first is of the restore */
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        Vm vm;
        _cleanup_error_ Error failed = ERROR_INIT, died = ERROR_INIT;
        script(cases[i].fail, cases[i].step);
        warm_up(&vm);
        CHECK(claim(&vm, &failed) < 0);
        CHECK_CONTAINS(failed.message, "no luck");
        ends_with(&vm, "start-failed");
        script(cases[i].die, cases[i].step);
        warm_up(&vm);
        CHECK(claim(&vm, &died) < 0);
        CHECK_CONTAINS(died.message, "QEMU");
        ends_with(&vm, "start-failed");
    }
}

/* Others ran between the claim and the new name. */
static void claims_need_the_hold(void) {
    static const char *const cases[][2] = {{"2*fail", "hold"}, {"1*fail", "welcome"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        Vm vm;
        _cleanup_error_ Error error = ERROR_INIT;
        script(cases[i][0], cases[i][1]); /* those before are of the restore */
        warm_up(&vm);
        vm.plan.identity.clone = true;
        CHECK(claim(&vm, &error) < 0);
        CHECK_INT(error.kind, ERROR_GUEST_NOT_READY);
        CHECK_CONTAINS(error.message, "before it was itself");
        ends_with(&vm, "start-failed");
    }
}

/* A warm clone that does not wait would run as nobody until it is claimed. */
static void warm_one_must_wait(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    script("1*fail", "hold"); /* the first is of the restore */
    restore_begin(&vm);
    vm.plan.start_paused = true;
    CHECK(restore(&vm, -1, &error) < 0);
    CHECK_CONTAINS(error.message, "before it was itself: no? priority");
    ends_with(&vm, "start-failed");
}

/* What QEMU is told to do so that a clone stays warm. */
static void warming_fails(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    script("fail", "stop");
    restore_begin(&vm);
    vm.plan.start_paused = true;
    CHECK(restore(&vm, -1, &error) < 0);
    CHECK_CONTAINS(error.message, "no luck");
    ends_with(&vm, "start-failed");
}

/* ---- snapshots ---- */

typedef struct Saved {
    int fds[5]; /* owned: state, memory, overlay to read and to write, copy of the memory */
    json_t *ok; /* owned */
} Saved;

static void saved_free(Saved *saved) {
    for (size_t i = 0; i < ARRAY_SIZE(saved->fds); i++)
        fd_close(saved->fds[i]);
    json_decref(saved->ok);
}
#define _cleanup_saved_ _cleanup_(saved_free)

static int scratch(Vm *vm, const char *name, int flags) {
    int fd = openat(vm->folder_fd, name, flags | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    return fd;
}

static int capture_new(const Vm *vm) {
    int fd = memfd_create("capture", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)vm->plan.memory_bytes) == 0);
    return fd;
}

static void open_files(Vm *vm, Saved *saved, const char *memory) {
    *saved = (Saved){
        .fds = {scratch(vm, "state", O_WRONLY | O_TRUNC),
                memory ? open(memory, O_RDWR | O_CLOEXEC) : scratch(vm, "memory", O_RDWR | O_TRUNC),
                scratch(vm, "overlay", O_RDONLY), scratch(vm, "overlay", O_RDWR), capture_new(vm)}};
}

static json_t *snapshot_request(bool hold) {
    return json_pack("{s:s, s:i, s:i, s:i, s:[{s:i, s:i}], s:b, s:b}", "op", "snapshot", "state_fd",
                     0, "memory_fd", 1, "capture_fd", 4, "disks", "fd", 2, "fd_write", 3, "freeze",
                     1, "stay_paused", hold);
}

/* memory: a file to write it to; NULL: one that takes it. */
static int save(Vm *vm, const char *memory, bool hold, Saved *saved, Error *error) {
    _cleanup_json_ json_t *request = snapshot_request(hold);
    open_files(vm, saved, memory);
    return keeper_call(vm->folder_fd, request, saved->fds, 5, FAR, -1, on_stage, vm, &saved->ok,
                       error);
}

/* A restored VM with a disk. */
static void run_to_save(Vm *vm) {
    _cleanup_error_ Error error = ERROR_INIT;
    restore_begin(vm);
    PlanDisk *disk = &vm->plan.disks[vm->plan.n_disks++];
    *disk = (PlanDisk){.serial = "root", .n_files = 1};
    disk->files[0] = (PlanDiskFile){.fd = 3, .fd_write = 4, .format = "qcow2"};
    _cleanup_close_ int state_fd = memfd_create("state", MFD_CLOEXEC);
    _cleanup_close_ int old = scratch(vm, "disk", O_RDONLY),
                        old_write = scratch(vm, "disk", O_RDWR);
    int fds[] = {vm->blank_fd, vm->folder_fd, state_fd, old, old_write};
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:o}", "op", "start", "plan", plan_to_json(&vm->plan));
    if (keeper_call(vm->folder_fd, request, fds, 5, FAR, -1, on_stage, vm, &vm->ok, &error) < 0)
        fprintf(stderr, "%s\n", error.message);
    CHECK(vm->ok);
}

static bool is_saving(Vm *vm) {
    _cleanup_json_ json_t *status = NULL;
    CHECK_INT(vm_ask(vm, "status", &status, NULL), 0);
    return json_is_true(json_object_get(status, "snapshotting"));
}

static uint64_t disk_inode(Vm *vm) {
    _cleanup_json_ json_t *status = NULL;
    CHECK_INT(vm_ask(vm, "status", &status, NULL), 0);
    CHECK(!json_is_true(json_object_get(status, "snapshotting")));
    return number(json_array_get(json_object_get(status, "disks"), 0), "inode");
}

static uint64_t inode_of(Vm *vm, const char *name) {
    struct stat info;
    CHECK_INT(fstatat(vm->folder_fd, name, &info, 0), 0);
    return info.st_ino;
}

/* The whole of it goes well, now. */
static void expect_saved(Vm *vm, bool hold) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_saved_ Saved saved;
    struct stat memory;
    if (save(vm, NULL, hold, &saved, &error) < 0)
        fprintf(stderr, "%s\n", error.message);
    CHECK(saved.ok);
    CHECK_STR(json_string_value(json_object_get(saved.ok, "kind")), "full"); /* over blank memory */
    CHECK_INT(number(saved.ok, "dirty_bytes"), 10 * 4096);
    CHECK_INT(fstat(saved.fds[1], &memory), 0);
    CHECK(memory.st_blocks * 512 <= (blkcnt_t)10 * 4096);
    CHECK_INT(disk_inode(vm), inode_of(vm, "overlay"));
}

static void saves(void) {
    Vm vm;
    script(NULL, NULL);
    run_to_save(&vm);
    CHECK_INT(disk_inode(&vm), inode_of(&vm, "disk"));
    expect_saved(&vm, false);
    state_is(&vm, "running");
    expect_saved(&vm, true);
    state_is(&vm, "paused");
    vm_kill(&vm);
}

static void is_held(const Saved *saved, bool held) {
    CHECK(json_is_boolean(json_object_get(saved->ok, "held")));
    CHECK(json_is_true(json_object_get(saved->ok, "held")) == held);
}

/* Where the agent cannot keep others waiting, or not long enough, nothing is saved that clones
 * could grow from. A VM that only stands by is saved, and it is known of it. */
static void forks_need_the_hold(void) {
    static const struct {
        const char *what, *step, *message;
    } cases[] = {{"1*fail", "hold", "no? priority"}, {"shut", "mailbox", "its time was over"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        Vm vm;
        _cleanup_error_ Error error = ERROR_INIT;
        _cleanup_saved_ Saved refused, kept;
        script(cases[i].what, cases[i].step);
        run_to_save(&vm);
        CHECK(save(&vm, NULL, false, &refused, &error) < 0);
        CHECK_CONTAINS(error.message, cases[i].message);
        CHECK(error.hint != NULL);
        state_is(&vm, "running");
        CHECK_INT(disk_inode(&vm), inode_of(&vm, "disk"));
        vm_kill(&vm);
        run_to_save(&vm);
        CHECK_INT(save(&vm, NULL, true, &kept, NULL), 0);
        is_held(&kept, false);
        state_is(&vm, "paused");
        vm_kill(&vm);
    }
}

/* It was stopped anywhere, so it goes on until its agent keeps others waiting. */
static void saves_a_paused_one(void) {
    Vm vm;
    _cleanup_json_ json_t *paused = NULL, *again = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    script("fail", "freeze");
    run_to_save(&vm);
    CHECK_INT(vm_ask(&vm, "pause", &paused, NULL), 0);
    _cleanup_saved_ Saved refused, first, second;
    CHECK(save(&vm, NULL, false, &refused, &error) < 0);
    state_is(&vm, "paused");
    CHECK_INT(save(&vm, NULL, false, &first, NULL), 0);
    is_held(&first, true);
    state_is(&vm, "paused");
    CHECK_INT(save(&vm, NULL, false, &second, NULL), 0); /* as the first left it */
    is_held(&second, true);
    state_is(&vm, "paused");
    CHECK_INT(vm_ask(&vm, "resume", &again, NULL), 0);
    state_is(&vm, "running");
    vm_kill(&vm);
}

/* Each step before the switch of the disks: the VM runs on over its old disk, and the next attempt
 * succeeds. */
static void save_steps_fail(void) {
    static const struct {
        const char *what, *step, *message;
    } cases[] = {
        {"fail", "freeze", "freeze"},
        {"fail", "add-fd", "no luck"},
        {"1*fail", "add-fd", "no luck"},
        {"2*fail", "add-fd", "no luck"},
        {"fail", "blockdev-add", "no luck"},
        {"fail", "stop", "no luck"},
        {"fail", "xen-save-devices-state", "no luck"},
        {"fail", "transaction", "no luck"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (int hold = 0; hold < 2; hold++) {
            Vm vm;
            _cleanup_error_ Error error = ERROR_INIT;
            _cleanup_saved_ Saved saved;
            script(cases[i].what, cases[i].step);
            run_to_save(&vm);
            CHECK(save(&vm, NULL, hold, &saved, &error) < 0);
            CHECK_CONTAINS(error.message, cases[i].message);
            state_is(&vm, "running");
            CHECK_INT(disk_inode(&vm), inode_of(&vm, "disk"));
            vm_kill(&vm);
        }
    }
}

/* Who saves hears of it at once; the VM waits, and once it goes on it can be saved. */
static void no_room_while_saving(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_saved_ Saved saved;
    script("full", "freeze");
    run_to_save(&vm);
    CHECK(save(&vm, NULL, false, &saved, &error) < 0);
    CHECK_INT(error.kind, ERROR_NO_SPACE);
    CHECK_CONTAINS(error.message, "no room");
    CHECK_INT(disk_inode(&vm), inode_of(&vm, "disk"));
    await_state(&vm, "running");
    expect_saved(&vm, false);
    vm_kill(&vm);
}

/* The same of one that was paused and runs for as long as it freezes. It stays paused, and does not
 * go on by itself. */
static void no_room_while_saving_a_paused_one(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *paused = NULL, *again = NULL;
    _cleanup_saved_ Saved refused, saved;
    script("full", "cont");
    run_to_save(&vm);
    CHECK_INT(vm_ask(&vm, "pause", &paused, NULL), 0);
    CHECK(save(&vm, NULL, false, &refused, &error) < 0);
    CHECK_INT(error.kind, ERROR_NO_SPACE);
    CHECK_CONTAINS(error.message, "no room");
    state_is(&vm, "paused");
    CHECK_INT(disk_inode(&vm), inode_of(&vm, "disk"));
    CHECK_INT(save(&vm, NULL, false, &saved, NULL), 0); /* there is room now */
    state_is(&vm, "paused");
    CHECK_INT(vm_ask(&vm, "resume", &again, NULL), 0);
    state_is(&vm, "running");
    vm_kill(&vm);
}

static void no_room_while_starting(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    script("full", "identity");
    vm_begin(&vm, "echo");
    CHECK(vm_start(&vm, &error) < 0);
    CHECK_INT(error.kind, ERROR_NO_SPACE);
    CHECK_CONTAINS(error.message, "no room");
    vm_end(&vm);
}

/* QEMU ends in the middle of it. */
static void dies_while_saving(void) {
    static const char *const steps[][2] = {{"die", "freeze"},
                                           {"die", "add-fd"},
                                           {"die", "blockdev-add"},
                                           {"die", "stop"},
                                           {"die", "xen-save-devices-state"},
                                           {"die", "transaction"},
                                           {"die", "cont"}};
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        Vm vm;
        _cleanup_error_ Error error = ERROR_INIT;
        _cleanup_saved_ Saved saved;
        script(steps[i][0], steps[i][1]);
        run_to_save(&vm);
        CHECK(save(&vm, NULL, false, &saved, &error) < 0);
        CHECK(error.kind == ERROR_FAILED || error.kind == ERROR_GUEST_NOT_READY);
        ends_with(&vm, "crashed");
    }
}

/* The pause cannot end: better no VM than one that stands still for ever. */
static void cannot_go_on(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_saved_ Saved saved;
    script("fail", "cont");
    run_to_save(&vm);
    CHECK(save(&vm, NULL, false, &saved, &error) < 0);
    ends_with(&vm, "internal-error");
}

/* The guest did not thaw: the snapshot is good, and the VM runs. */
static void thaw_fails(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_saved_ Saved saved;
    script("1*fail", "thaw"); /* the first is the restore's */
    run_to_save(&vm);
    CHECK_INT(save(&vm, NULL, false, &saved, &error), 0);
    state_is(&vm, "running");
    vm_kill(&vm);
}

/* The disk has switched when the memory turns out to be no file that takes it: the VM runs on over
 * the new overlay. */
static void memory_cannot_be_written(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_saved_ Saved saved;
    script(NULL, NULL);
    run_to_save(&vm);
    CHECK(save(&vm, "/dev/full", false, &saved, &error) < 0);
    CHECK_CONTAINS(error.message, "cannot write a memory base");
    state_is(&vm, "running");
    CHECK_INT(disk_inode(&vm), inode_of(&vm, "overlay"));
    expect_saved(&vm, false);
    vm_kill(&vm);
}

/* The daemon dies while the agent freezes: the snapshot is given up, the guest thaws. */
static void nobody_waits_any_more(void) {
    Vm vm;
    _cleanup_saved_ Saved saved;
    KeeperConnection connection = {.fd = -1};
    _cleanup_json_ json_t *request = snapshot_request(false);
    bool freezing = false;
    script("hang", "freeze");
    run_to_save(&vm);
    open_files(&vm, &saved, NULL);
    CHECK_INT(keeper_connect(vm.folder_fd, &connection, NULL), 0);
    CHECK_INT(keeper_send(&connection, request, saved.fds, 5, NULL), 0);
    while (!freezing) {
        _cleanup_json_ json_t *event = NULL;
        CHECK_INT(keeper_receive(&connection, FAR, -1, &event, NULL), 0);
        freezing = str_equal(json_string_value(json_object_get(event, "name")), "freeze");
    }
    keeper_close(&connection);
    while (is_saving(&vm))
        ;
    state_is(&vm, "running");
    CHECK_INT(disk_inode(&vm), inode_of(&vm, "disk"));
    saved.ok = NULL;
    expect_saved(&vm, false);
    vm_kill(&vm);
}

/* ---- snapshots together with other VMs ---- */

typedef struct Together {
    KeeperConnection connection;
    Saved saved;
    Error error;
    json_t *last; /* owned: its answer */
} Together;

static void together_begin(Vm *vm, Together *together) {
    _cleanup_json_ json_t *request = snapshot_request(false);
    json_object_set_new(request, "group", json_true());
    *together = (Together){.connection = {.fd = -1}, .error = ERROR_INIT};
    open_files(vm, &together->saved, NULL);
    CHECK_INT(keeper_connect(vm->folder_fd, &together->connection, NULL), 0);
    CHECK_INT(keeper_send(&together->connection, request, together->saved.fds, 5, NULL), 0);
}

static void together_end(Together *together) {
    keeper_close(&together->connection);
    saved_free(&together->saved);
    error_clear(&together->error);
    json_decref(together->last);
}

/* Goes on until it waits there. */
static void comes_to(Together *together, const char *where) {
    for (;;) {
        _cleanup_json_ json_t *message = NULL;
        CHECK_INT(keeper_receive(&together->connection, FAR, -1, &message, NULL), 0);
        const char *event = json_string_value(json_object_get(message, "event"));
        CHECK(event); /* no answer yet */
        if (!str_equal(event, "meet"))
            continue;
        CHECK_STR(json_string_value(json_object_get(message, "where")), where);
        CHECK(number(message, "at_us") > 0);
        return;
    }
}

static void tell(Together *together, bool go_on) {
    CHECK_INT(keeper_tell(&together->connection, go_on, NULL), 0);
}

static int comes_to_an_end(Together *together) {
    return keeper_await(&together->connection, FAR, -1, NULL, NULL, &together->last,
                        &together->error);
}

static const char *const meetings[] = {"copied", "frozen", "paused"};

static void saves_together(void) {
    Vm vm;
    Together together;
    script(NULL, NULL);
    run_to_save(&vm);
    together_begin(&vm, &together);
    for (size_t i = 0; i < ARRAY_SIZE(meetings); i++) {
        comes_to(&together, meetings[i]);
        CHECK(is_saving(&vm));
        state_is(&vm, "running");
        tell(&together, true);
    }
    CHECK_INT(comes_to_an_end(&together), 0);
    CHECK(number(together.last, "pause_us") > 0);
    CHECK_INT(disk_inode(&vm), inode_of(&vm, "overlay"));
    state_is(&vm, "running");
    together_end(&together);
    vm_kill(&vm);
}

/* Whoever fails, wherever it waits: it runs on over its old disk, and can be saved again. */
static void gives_up_together(void) {
    for (size_t i = 0; i < 2 * ARRAY_SIZE(meetings); i++) {
        bool is_told = i % 2 == 0;
        Vm vm;
        Together together;
        script(NULL, NULL);
        run_to_save(&vm);
        together_begin(&vm, &together);
        for (size_t k = 0; k < i / 2; k++) {
            comes_to(&together, meetings[k]);
            tell(&together, true);
        }
        comes_to(&together, meetings[i / 2]);
        if (is_told) {
            tell(&together, false);
            CHECK_INT(comes_to_an_end(&together), -ECANCELED);
            CHECK_CONTAINS(together.error.message, "another VM");
        }
        together_end(&together); /* or who asked is gone */
        while (is_saving(&vm))
            ;
        state_is(&vm, "running");
        CHECK_INT(disk_inode(&vm), inode_of(&vm, "disk"));
        expect_saved(&vm, false);
        vm_kill(&vm);
    }
}

/* Its QEMU ends while it stands still and waits: the answer says so, and the VM has failed. */
static void dies_together(void) {
    Vm vm;
    Together together;
    script("die", "xen-save-devices-state");
    run_to_save(&vm);
    together_begin(&vm, &together);
    for (size_t i = 0; i < ARRAY_SIZE(meetings); i++) {
        comes_to(&together, meetings[i]);
        tell(&together, true);
    }
    CHECK(comes_to_an_end(&together) < 0);
    together_end(&together);
    ends_with(&vm, "crashed");
}

int main(int argc, char **argv) {
    CHECK_INT(argc, 3);
    keeper_path = realpath(argv[1], NULL); /* lives to the end */
    fake_path = realpath(argv[2], NULL);
    RUN(restores_when_all_comes_at_once);
    RUN(restores_patches);
    RUN(posts_to_the_mailbox);
    RUN(passes_over_junk_in_the_mailbox);
    RUN(corrects_the_clock);
    RUN(does_not_wait_for_a_clock_that_is_right);
    RUN(refuses_another_memory);
    RUN(judges_the_hold);
    RUN(restore_steps_fail);
    RUN(restores_are_bounded);
    RUN(claims);
    RUN(claim_steps_fail);
    RUN(claims_need_the_hold);
    RUN(warm_one_must_wait);
    RUN(warming_fails);
    RUN(saves);
    RUN(forks_need_the_hold);
    RUN(saves_a_paused_one);
    RUN(save_steps_fail);
    RUN(no_room_while_saving);
    RUN(no_room_while_saving_a_paused_one);
    RUN(no_room_while_starting);
    RUN(dies_while_saving);
    RUN(cannot_go_on);
    RUN(thaw_fails);
    RUN(memory_cannot_be_written);
    RUN(nobody_waits_any_more);
    RUN(saves_together);
    RUN(gives_up_together);
    RUN(dies_together);
    return 0;
}
