/* SPDX-License-Identifier: Apache-2.0 */

/* Bringing a lab up: its row, which nobody sees until all is ready; its networks; its VMs; then,
 * since each may look for the others by name, their commands once all of them run; and at last
 * their `ready`, tried until it succeeds. The VMs of one step go at once, as many as start at a
 * time anywhere (machine/start_slots.h); all wait for their `ready` together, for it may be another
 * VM's that makes it succeed.
 *
 * The first failure is the one that is told. It makes all that goes on give up, and all that was
 * made is removed, as a daemon that dies in between leaves it to the next one (lab_remove.c). */

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/path.h"
#include "base/str.h"
#include "catalog/images.h"
#include "home/inside.h"
#include "home/operation.h"
#include "lab/lab.h"
#include "lab/lab_describe.h"
#include "lab/lab_lock.h"
#include "lab/lab_plan.h"
#include "lab/lab_remove.h"
#include "lab/lab_run.h"
#include "machine/machine.h"
#include "machine/program.h"
#include "machine/start_slots.h"
#include "network/network.h"
#include "store/lab/labs.h"
#include "store/vms.h"
#include "verbs/verbs.h"

typedef struct Up {
    Home *home;            /* borrowed */
    Operation *operation;  /* borrowed: the request's */
    LabPlan plan;          /* owned */
    LabRow row;            /* owned */
    OpLock *lock;          /* owned */
    int client_fd;         /* borrowed: what the request ends early by */
    int failed_fd;         /* owned eventfd: readable once something failed */
    int asked_fd;          /* owned: readable once the client is gone or somebody brings it down */
    int cancel_fd;         /* owned: readable once anybody wants an end of it */
    pthread_mutex_t mutex; /* guards what follows, and the request's events */
    const struct Step *step;
    size_t next, end; /* VMs that nobody works on yet */
    bool failed;
    Error error; /* of the first failure */
} Up;

typedef struct Job {
    Up *up; /* borrowed */
    const LabVmPlan *vm;
    Operation operation;
} Job;

typedef struct Step {
    const char *name;
    int (*work)(Job *job, Error *error);
} Step;

/* ---- one VM ---- */

static int start_vm(Job *job, Error *error) {
    return vm_run(job->up->home, &job->operation, &job->vm->spec, false, NULL, error);
}

static int run_program(Job *job, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int r = vms_find(job->up->home->store, job->vm->spec.name, &row, error);
    return r < 0 ? r : program_start(job->up->home, &row, error);
}

/* The file's, or what the image is there for. */
static int run_command(Job *job, Error *error) {
    const LabVmPlan *vm = job->vm;
    return vm->run ? lab_run_command(job->up->home, &job->operation, vm->spec.name, vm->run, error)
                   : run_program(job, error);
}

static int await_ready(Job *job, Error *error) {
    const VmSpec *spec = &job->vm->spec;
    int r;
    if (!*spec->wait_for)
        return 0;
    r = vm_wait_for(job->up->home, &job->operation, spec->name, spec->wait_for,
                    spec->wait_timeout_s, error);
    if (r == -ETIMEDOUT)
        error_set_hint(error, "give it longer with ready_timeout, or leave ready out and look "
                              "into the VM");
    return r;
}

/* ---- all of them ---- */

/* Events of all VMs go to the one request, each with its VM's name. */
static void tell_event(void *data, const json_t *event) {
    Job *job = data;
    Up *up = job->up;
    _cleanup_json_ json_t *named = json_copy((json_t *)event);
    if (!up->operation->on_event)
        return;
    (void)json_object_set_new(named, "vm", json_string(name_within_lab(job->vm->spec.name)));
    (void)pthread_mutex_lock(&up->mutex);
    up->operation->on_event(up->operation->data, named);
    (void)pthread_mutex_unlock(&up->mutex);
}

static bool next_job(Up *up, Job *job) {
    *job = (Job){.up = up};
    (void)pthread_mutex_lock(&up->mutex);
    if (up->next < up->end && !up->failed)
        job->vm = &up->plan.vms[up->next++];
    (void)pthread_mutex_unlock(&up->mutex);
    return job->vm != NULL;
}

/* Those that go on are told to end. */
static void note_failure(Up *up, const LabVmPlan *vm, Error *failure) {
    (void)error_add_context(failure, "VM %s, %s", name_within_lab(vm->spec.name), up->step->name);
    (void)pthread_mutex_lock(&up->mutex);
    if (!up->failed)
        (void)error_move(&up->error, failure);
    up->failed = true;
    (void)pthread_mutex_unlock(&up->mutex);
    (void)eventfd_write(up->failed_fd, 1);
}

static void do_jobs(void *data) {
    Up *up = data;
    Job job;
    while (next_job(up, &job)) {
        _cleanup_error_ Error failure = ERROR_INIT;
        operation_init(&job.operation, up->operation->origin_usec, up->operation->cancel_fd);
        job.operation.on_event = tell_event;
        job.operation.data = &job;
        if (up->step->work(&job, &failure) < 0)
            note_failure(up, job.vm, &failure);
    }
}

static int do_some(Up *up, const Step *step, size_t first, size_t end, size_t threads,
                   Error *error) {
    operation_enter(up->operation, step->name);
    up->step = step;
    up->next = first;
    up->end = end;
    parallel_run(MIN_OF(end - first, threads), do_jobs, up);
    return up->failed ? error_move(error, &up->error) : 0;
}

static int do_step(Up *up, const Step *step, size_t threads, Error *error) {
    return do_some(up, step, 0, up->plan.n_vms, threads, error);
}

/* Who asks for an address has it before the others are given what is free. */
static int start_vms(Up *up, size_t threads, Error *error) {
    static const Step start = {"start", start_vm};
    size_t asking = up->plan.n_asking;
    int r = do_some(up, &start, 0, asking, threads, error);
    return r < 0 ? r : do_some(up, &start, asking, up->plan.n_vms, threads, error);
}

/* ---- what they stand on ---- */

static bool is_first_with_image(const LabPlan *plan, size_t index) {
    for (size_t i = 0; i < index; i++)
        if (str_equal(plan->vms[i].spec.image, plan->vms[index].spec.image))
            return false;
    return true;
}

/* One that is absent is built once, and not by each VM. */
static int find_images(Up *up, Error *error) {
    int r = 0;
    operation_enter(up->operation, "images");
    for (size_t i = 0; r >= 0 && i < up->plan.n_vms; i++) {
        _cleanup_image_row_ ImageRow image = {0};
        if (is_first_with_image(&up->plan, i))
            r = image_for_vm(up->home, up->operation, up->plan.vms[i].spec.image, &image, error);
    }
    return r;
}

static int make_networks(Up *up, Error *error) {
    int r = 0;
    operation_enter(up->operation, "networks");
    for (size_t i = 0; r >= 0 && i < up->plan.n_networks; i++) {
        NetworkOptions options = up->plan.networks[i].options;
        options.lab = up->row.id;
        r = network_create(up->home, &options, NULL, error);
        if (r < 0)
            (void)error_add_context(error, "network %s", name_within_lab(options.name));
    }
    return r;
}

static int insert_row(Up *up, const char *name, const json_t *description, Error *error) {
    _cleanup_free_ char *id = random_hex(16);
    up->row = (LabRow){.state = LAB_CREATING, .created_at_usec = clock_realtime_usec()};
    str_set(up->row.name, name);
    up->row.description =
        json_pack("{s:O?, s:O}", "networks", json_object_get(description, "networks"), "vms",
                  json_object_get(description, "vms"));
    str_set(up->row.id, id);
    int r = labs_insert(up->home->store, &up->row, error);
    if (r < 0)
        up->row.id[0] = '\0'; /* there is nothing to be undone */
    for (size_t i = 0; i < up->plan.n_vms; i++)
        str_set(up->plan.vms[i].spec.lab, id);
    return r;
}

/* ---- all of it ---- */

static int bring_up(Up *up, Error *error) {
    static const Step run = {"run", run_command}, ready = {"ready", await_ready};
    size_t slots = (size_t)start_slots_max();
    int r = find_images(up, error);
    if (r >= 0)
        r = make_networks(up, error);
    if (r >= 0)
        r = start_vms(up, slots, error);
    if (r >= 0)
        r = do_step(up, &run, slots, error);
    if (r >= 0)
        r = do_step(up, &ready, PARALLEL_MAX, error);
    if (r >= 0)
        r = operation_check(up->operation, error);
    if (r == -ECANCELED && op_lock_aborted(up->lock))
        r = error_set(error, ERROR_CANCELLED, ECANCELED, "it was brought down meanwhile");
    return r < 0 ? r : labs_set_state(up->home->store, up->row.id, LAB_READY, error);
}

static void undo(Up *up) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (*up->row.id && lab_remove_locked(up->home, &up->row, &error) < 0)
        log_warning("cannot undo lab %s: %s", up->row.name, error_message(&error));
}

/* The client goes away, somebody brings the lab down, or a VM failed: all of them end it. */
static int prepare(Up *up, const char *name, const json_t *description, Error *error) {
    Operation asked;
    int r = lab_name_check(name, error);
    if (r >= 0)
        r = lab_plan_make(name, description, &up->plan, error);
    if (r >= 0)
        r = lab_lock(up->home, name, "being brought up", up->operation->cancel_fd, &up->lock,
                     error);
    if (r < 0)
        return r;
    up->failed_fd = eventfd(0, EFD_CLOEXEC);
    if (up->failed_fd < 0)
        return error_set_errno(error, errno, "cannot make an eventfd");
    up->asked_fd = operation_join_cancel(up->operation, op_lock_abort_fd(up->lock), error);
    if (up->asked_fd < 0)
        return up->asked_fd;
    operation_init(&asked, 0, up->asked_fd);
    up->cancel_fd = operation_join_cancel(&asked, up->failed_fd, error);
    if (up->cancel_fd < 0)
        return up->cancel_fd;
    up->operation->cancel_fd = up->cancel_fd;
    return insert_row(up, name, description, error);
}

static void up_free(Up *up) {
    up->operation->cancel_fd = up->client_fd;
    (void)op_unlock(up->lock);
    (void)fd_close(up->failed_fd);
    (void)fd_close(up->asked_fd);
    (void)fd_close(up->cancel_fd);
    lab_plan_free(&up->plan);
    lab_row_free(&up->row);
    error_clear(&up->error);
    (void)pthread_mutex_destroy(&up->mutex);
}

int lab_up(Home *home, Operation *operation, const char *name, const json_t *description,
           json_t **lab, Error *error) {
    _cleanup_(up_free) Up up = {.home = home,
                                .operation = operation,
                                .client_fd = operation->cancel_fd,
                                .failed_fd = -1,
                                .asked_fd = -1,
                                .cancel_fd = -1,
                                .mutex = PTHREAD_MUTEX_INITIALIZER,
                                .error = ERROR_INIT};
    int r;
    operation_enter(operation, "plan");
    r = prepare(&up, name, description, error);
    if (r >= 0)
        r = bring_up(&up, error);
    if (r < 0) {
        undo(&up);
        return error_add_context(error, "cannot bring up lab %s", name);
    }
    up.row.state = LAB_READY;
    home_sync_later(home);
    home_event(home, "lab.created", NULL, name, NULL);
    return lab_describe(home, &up.row, lab, error);
}
