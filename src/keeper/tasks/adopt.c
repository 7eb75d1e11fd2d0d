/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/tasks/adopt.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "keeper/tasks/loop_job.h"
#include "memory/carry.h"

/* After a snapshot of a VM that goes on:
 *
 *   offered ──adopt──▶ PREPARING ┄▶ (pause: the last pages, swap) ─▶ answered ┄▶ DROPPING ┄▶ gone
 *      │                   │                    │ refused, as before
 *      └─time over─▶ gone  └────────────────────┴─▶ error ┄▶ DROPPING ┄▶ gone
 *
 * While it is offered, what the guest writes is kept in mind, as while the snapshot was taken: by
 * that the snapshot's memory and the VM's differ. In another thread QEMU maps the snapshot's memory
 * beside its own, and these pages are copied there. In the pause the last ones are, and both change
 * places (zygote/remap_client.h). The old memory is given back piece by piece, since QEMU's own
 * thread is kept from its work for as long as each of them takes.
 *
 * A daemon that is gone is not to find later that the VM changed its memory after all: until the
 * pause its end is the end of it. Where it cannot be known what QEMU did, QEMU is killed. */

#define OFFER_USEC (30 * USEC_PER_SEC)
/* What a guest writes while it boots is some 70 MiB, of which it will write much again. */
#define WORTH_BYTES (96 * MIB)
#define DROP_BYTES (16 * MIB) /* 1 ms */
#define FIRST_FD 3
#define END_FD 1024

typedef enum AdoptionState { OFFERED, PREPARING, DROPPING } AdoptionState;

struct Adoption {
    Vm *vm; /* borrowed */
    AdoptionState state;
    GuestRam ram;         /* owned: as it was when the snapshot was taken */
    WrittenPages written; /* telling since */
    LoopSource *timer;    /* of the offer */
    Reply *reply;         /* borrowed; NULL once who asked is gone */
    int memory_fd;        /* owned: the snapshot's */
    char owner[VM_OWNER_SIZE];
    Remapping *remapping; /* borrowed: the machine's, which nobody else uses meanwhile */
    MemoryCarry carry;
    int replaced[REMAP_REPLACED_MAX];
    size_t n_replaced;
    bool tried, swapped;
    uint64_t pause_usec;
    LoopJob *job; /* owned */
    int job_result;
    Error job_error;
};

static void prepare(void *data);
static void on_prepared(void *data);
static void drop(void *data);
static void on_dropped(void *data);

/* The offer */

const char *adopt_refusal(const Vm *vm, const MemoryCapture *capture) {
    if (vm->machine.remapping.socket < 0)
        return "no-zygote";
    if (vm->adoption)
        return "busy";
    if (capture->way == WRITTEN_UNKNOWN)
        return "no-page-tracking";
    return memory_capture_dirty_bytes(capture) < WORTH_BYTES ? "little-to-gain" : "";
}

static void adoption_free(Vm *vm) {
    Adoption *adoption = TAKE_PTR(vm->adoption);
    if (!adoption)
        return;
    loop_remove(adoption->timer);
    loop_job_wait(adoption->job);
    error_clear(&adoption->job_error);
    written_pages_stop(&adoption->written);
    guest_ram_close(&adoption->ram);
    fd_close(adoption->memory_fd);
    free(adoption);
}

static void on_offer_over(void *data) {
    adoption_free(data);
}

void adopt_offer(Vm *vm, GuestRam *ram, MemoryCapture *capture) {
    Adoption *adoption = calloc(1, sizeof(*adoption));
    if (!adoption)
        return;
    *adoption = (Adoption){.vm = vm,
                           .ram = *ram,
                           .written = capture->written,
                           .memory_fd = -1,
                           .remapping = &vm->machine.remapping};
    *ram = GUEST_RAM_INIT;
    capture->written.way = WRITTEN_UNKNOWN;
    adoption->timer =
        loop_add_timer(vm->loop, clock_monotonic_usec() + OFFER_USEC, on_offer_over, vm);
    vm->adoption = adoption;
}

/* The request */

static int check_file(const Vm *vm, int fd, Error *error) {
    struct stat file;
    if (fstat(fd, &file) == 0 && S_ISREG(file.st_mode) &&
        (uint64_t)file.st_size == vm->plan.memory_bytes)
        return 0;
    return error_set(error, ERROR_USAGE, 0, "memory_fd is no file of the memory's size");
}

static int read_request(Adoption *adoption, const json_t *request, int *fds, size_t n_fds,
                        Error *error) {
    const char *owner = NULL;
    uint64_t index = 0;
    int r = json_get_u64("adopt", request, "memory_fd", &index, error);
    if (r == 0)
        r = json_get_string("adopt", request, "owner", &owner, error);
    if (r == 0 && (index >= n_fds || fds[index] < 0))
        r = error_set(error, ERROR_USAGE, 0, "memory_fd names a descriptor that is not there");
    if (r == 0)
        r = check_file(adoption->vm, fds[index], error);
    if (r < 0)
        return r;
    adoption->memory_fd = TAKE_FD(fds[index]);
    str_set(adoption->owner, str_or_empty(owner));
    return 0;
}

static void on_asker_gone(void *data) {
    Adoption *adoption = data;
    adoption->reply = NULL;
}

int adopt_begin(Vm *vm, Reply *reply, const json_t *request, int *fds, size_t n_fds, Error *error) {
    Adoption *adoption = vm->adoption;
    int r = vm_require_up(vm, error);
    if (r < 0)
        return r;
    if (!adoption || adoption->state != OFFERED || vm->snapshot)
        return error_set(error, ERROR_CONFLICT, ENOENT, "there is no snapshot to adopt");
    r = read_request(adoption, request, fds, n_fds, error);
    if (r == 0)
        r = loop_job_start(vm->loop, prepare, on_prepared, adoption, &adoption->job, error);
    if (r < 0)
        return r;
    adoption->timer = loop_remove(adoption->timer);
    adoption->state = PREPARING;
    adoption->reply = reply;
    reply_keep(reply, on_asker_gone, adoption);
    return 0;
}

/* Beside the guest */

/* QEMU's own descriptors of what it maps now would keep that alive. */
static void find_replaced(Adoption *adoption) {
    struct stat mapped, file;
    if (fstat(adoption->vm->memory_fd, &mapped) < 0)
        return;
    for (int fd = FIRST_FD; fd < END_FD && adoption->n_replaced < ARRAY_SIZE(adoption->replaced);
         fd++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)adoption->ram.pid, fd);
        if (fstatat(AT_FDCWD, path, &file, 0) == 0 && file.st_ino == mapped.st_ino &&
            file.st_dev == mapped.st_dev)
            adoption->replaced[adoption->n_replaced++] = fd;
    }
}

static void prepare(void *data) {
    Adoption *adoption = data;
    Error *error = &adoption->job_error;
    adoption->remapping->address = adoption->ram.address;
    adoption->remapping->size = adoption->ram.size_bytes;
    int r = remap_map(adoption->remapping, adoption->memory_fd, error);
    adoption->carry = (MemoryCarry){.ram = &adoption->ram,
                                    .written = &adoption->written,
                                    .to_address = adoption->remapping->beside,
                                    .max_pages = WORTH_BYTES / 2 / RAM_PAGE_SIZE};
    if (r == 0)
        r = memory_carry_ahead(&adoption->carry, error);
    if (r == 0)
        find_replaced(adoption);
    adoption->job_result = r;
}

/* The pause */

/* The new mapping stands where the old one stood, whatever QEMU says of it. */
static int check_swapped(const Adoption *adoption, Error *error) {
    _cleanup_guest_ram_ GuestRam ram = GUEST_RAM_INIT;
    int r = guest_ram_open(adoption->ram.pid, adoption->memory_fd, adoption->ram.size_bytes, &ram,
                           error);
    if (r == 0 && ram.address != adoption->ram.address)
        r = error_set(error, ERROR_CORRUPT, EINVAL, "QEMU maps it in another place");
    return r < 0 ? -ENOTRECOVERABLE : 0;
}

static int swap(Adoption *adoption, Error *error) {
    int r = memory_carry_finish(&adoption->carry, error);
    adoption->tried = r == 0;
    if (r == 0)
        r = remap_swap(adoption->remapping, adoption->memory_fd, adoption->replaced,
                       adoption->n_replaced, error);
    return r == 0 ? check_swapped(adoption, error) : r;
}

static void note_swap(Adoption *adoption) {
    Vm *vm = adoption->vm;
    fd_close(vm->memory_fd);
    vm->memory_fd = fcntl(adoption->memory_fd, F_DUPFD_CLOEXEC, 3);
    str_set(vm->memory_owner, adoption->owner);
    adoption->swapped = true;
    adoption->written.way = WRITTEN_UNKNOWN; /* what was told of is going */
}

/* As for a snapshot: stopped, nothing writes to the guest's memory. A VM that cannot go on, or
 * whose memory nobody knows, is ended. */
static int swap_in_pause(Adoption *adoption, Error *error) {
    Vm *vm = adoption->vm;
    VmState state = vm->state;
    uint64_t begin = clock_monotonic_usec();
    vm->state = VM_PAUSED; /* before the STOP event comes */
    int r = state == VM_RUNNING ? machine_call(&vm->machine, "stop", NULL, NULL, error) : 0;
    if (r == 0)
        r = swap(adoption, error);
    if (r == 0)
        note_swap(adoption);
    if (r == -ENOTRECOVERABLE || vm->memory_fd < 0)
        machine_kill(&vm->machine, "internal-error");
    else if (state == VM_RUNNING && r != -ECONNRESET &&
             machine_call(&vm->machine, "cont", NULL, NULL, NULL) < 0)
        machine_kill(&vm->machine, "internal-error");
    adoption->pause_usec = clock_monotonic_usec() - begin;
    machine_process_events(&vm->machine);
    vm->state = state;
    return r;
}

static json_t *describe(const Adoption *adoption) {
    json_t *ok = json_pack("{s:I, s:I}", "pause_us", (json_int_t)adoption->pause_usec,
                           "carried_bytes", (json_int_t)(adoption->carry.pages * RAM_PAGE_SIZE));
    json_object_update_missing_new(ok, vm_describe_memory(adoption->vm));
    return ok;
}

static void on_prepared(void *data) {
    Adoption *adoption = data;
    Vm *vm = adoption->vm;
    _cleanup_error_ Error error = ERROR_INIT;
    adoption->job = NULL;
    int r = adoption->job_result < 0 ? error_move(&error, &adoption->job_error) : 0;
    if (r == 0 && !adoption->reply)
        r = error_set(&error, ERROR_CANCELLED, ECANCELED, "nobody waits for it any more");
    if (r == 0)
        r = vm_require_up(vm, &error);
    if (r == 0)
        r = swap_in_pause(adoption, &error);
    if (r < 0)
        log_warning("the VM keeps its own memory: %s", error_message(&error));
    Reply *reply = TAKE_PTR(adoption->reply);
    if (r < 0)
        reply_fail(reply, &error);
    else
        reply_answer(reply, describe(adoption));
    adoption->state = DROPPING;
    if (loop_job_start(vm->loop, drop, on_dropped, adoption, &adoption->job, NULL) < 0)
        on_dropped(adoption);
}

/* Giving back */

/* After a swap that failed, nobody knows what is aside; it takes address space only. */
static void drop(void *data) {
    Adoption *adoption = data;
    Remapping *remapping = adoption->remapping;
    uint64_t size = remapping->size;
    int r = remapping->beside ? 0 : -ENOENT;
    bool aside = adoption->swapped || !adoption->tried;
    for (uint64_t at = 0; aside && r == 0 && at < size; at += DROP_BYTES)
        r = remap_drop(remapping, remapping->aside + at, MIN_OF(DROP_BYTES, size - at), NULL);
    if (r == 0 && !adoption->swapped)
        (void)remap_drop(remapping, remapping->beside, size, NULL);
    remapping->beside = remapping->aside = 0;
    written_pages_stop(&adoption->written);
}

static void on_dropped(void *data) {
    Adoption *adoption = data;
    adoption->job = NULL;
    adoption_free(adoption->vm);
}

/* The end */

static void fail(Adoption *adoption, const char *why) {
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_CANCELLED, ECANCELED, "%s", why);
    reply_fail(TAKE_PTR(adoption->reply), &error);
}

void adopt_withdraw(Vm *vm) {
    Adoption *adoption = vm->adoption;
    if (!adoption)
        return;
    adoption->job = loop_job_wait(adoption->job);
    if (adoption->state == PREPARING) {
        fail(adoption, "another snapshot is taken");
        drop(adoption);
    }
    adoption_free(vm);
}

void adopt_end(Vm *vm) {
    Adoption *adoption = vm->adoption;
    if (!adoption)
        return;
    adoption->job = loop_job_wait(adoption->job);
    fail(adoption, "the VM has ended");
    adoption_free(vm);
}
