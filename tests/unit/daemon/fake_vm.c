/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "check.h"
#include "store/events.h"
#include "store/vms.h"
#include "vm/images.h"
#include "vm/pool.h"
#include "vm/snapshot.h"
#include "vm/vm.h"

#define SUBSCRIBERS 16

struct Ramet {
    char *home;
    Store *store;
    pthread_mutex_t lock;
    int subscribers[SUBSCRIBERS];
};

atomic_int fake_cancelled, fake_waiting, fake_removed;

Ramet *fake_ramet_new(const char *home) {
    Ramet *ramet = calloc(1, sizeof(*ramet));
    _cleanup_free_ char *database = path_join(home, "ramet.db");
    _cleanup_free_ char *scratch = path_join(home, "tmp");

    CHECK(ramet);
    ramet->home = str_copy(home);
    CHECK_INT(path_make_folders(scratch, 0700), 0);
    CHECK_INT(store_open(database, &ramet->store, NULL), 0);
    pthread_mutex_init(&ramet->lock, NULL);
    for (size_t i = 0; i < SUBSCRIBERS; i++)
        ramet->subscribers[i] = -1;
    return ramet;
}

void fake_ramet_free(Ramet *ramet) {
    for (size_t i = 0; i < SUBSCRIBERS; i++)
        CHECK_INT(ramet->subscribers[i], -1);
    (void)store_close(ramet->store);
    free(ramet->home);
    free(ramet);
}

char *fake_vm_folder(Ramet *ramet, const char *name) {
    return path_join(ramet->home, "vms", name);
}

void fake_add_vm(Ramet *ramet, const char *name, const char *state) {
    static unsigned count;
    _cleanup_vm_row_ VmRow row = {0};
    _cleanup_free_ char *folder = fake_vm_folder(ramet, name);

    count++;
    (void)snprintf(row.id, sizeof(row.id), "%032x", count);
    (void)snprintf(row.name, sizeof(row.name), "%s", name);
    (void)snprintf(row.state, sizeof(row.state), "%s", state);
    (void)snprintf(row.mac, sizeof(row.mac), "52:54:00:00:00:%02x", count);
    row.spec = json_object();
    row.runtime = json_object();
    CHECK_INT(vms_insert(ramet->store, &row, NULL), 0);
    CHECK_INT(path_make_folders(folder, 0700), 0);
}

void fake_set_state(Ramet *ramet, const char *name, const char *state) {
    _cleanup_vm_row_ VmRow row = {0};

    CHECK_INT(vms_find(ramet->store, name, &row, NULL), 0);
    (void)snprintf(row.state, sizeof(row.state), "%s", state);
    CHECK_INT(vms_update(ramet->store, &row, NULL), 0);
    ramet_event(ramet, state, row.id, row.name, NULL);
}

/* --- vm/ramet.h --- */

const char *ramet_home(const Ramet *ramet) {
    return ramet->home;
}

Store *ramet_store(Ramet *ramet) {
    return ramet->store;
}

void ramet_event(Ramet *ramet, const char *type, const char *vm, const char *name,
                 const json_t *detail) {
    uint64_t id;

    CHECK_INT(events_add(ramet->store, type, vm, name, detail, &id, NULL), 0);
    pthread_mutex_lock(&ramet->lock);
    for (size_t i = 0; i < SUBSCRIBERS; i++)
        if (ramet->subscribers[i] >= 0)
            (void)eventfd_write(ramet->subscribers[i], 1);
    pthread_mutex_unlock(&ramet->lock);
}

int ramet_events(Ramet *ramet, uint64_t since, size_t max, json_t **array, Error *error) {
    return events_list(ramet->store, since, max, array, error);
}

int ramet_doctor(Ramet *ramet, json_t **json, Error *error);

int ramet_doctor(Ramet *ramet, json_t **json, Error *error) {
    (void)ramet;
    (void)error;
    *json = json_pack("{s:[]}", "checks");
    return 0;
}

int ramet_subscribe(Ramet *ramet) {
    int fd = -EMFILE;

    pthread_mutex_lock(&ramet->lock);
    for (size_t i = 0; fd < 0 && i < SUBSCRIBERS; i++)
        if (ramet->subscribers[i] < 0)
            fd = ramet->subscribers[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_unlock(&ramet->lock);
    return fd;
}

void ramet_unsubscribe(Ramet *ramet, int fd) {
    pthread_mutex_lock(&ramet->lock);
    for (size_t i = 0; i < SUBSCRIBERS; i++)
        if (ramet->subscribers[i] == fd)
            ramet->subscribers[i] = -1;
    (void)fd_close(fd);
    pthread_mutex_unlock(&ramet->lock);
}

/* --- vm/operation.h --- */

void operation_init(Operation *operation, uint64_t origin_usec, int cancel_fd) {
    *operation = (Operation){.origin_usec = origin_usec, .cancel_fd = cancel_fd};
}

static void tell(Operation *operation, const char *stage) {
    _cleanup_json_ json_t *event = json_pack("{s:s, s:s}", "event", "stage", "name", stage);

    if (operation->on_event)
        operation->on_event(operation->data, event);
}

static int wait_cancelled(Operation *operation, Error *error) {
    struct pollfd pollfd = {.fd = operation->cancel_fd, .events = POLLIN};

    fake_waiting++;
    CHECK(poll(&pollfd, 1, 60000) == 1);
    fake_cancelled++;
    return error_set(error, ERROR_CANCELLED, 0, "cancelled");
}

/* --- vm/spec.h, vm/vm.h --- */

void vm_spec_init(VmSpec *spec) {
    *spec = (VmSpec){0};
}

void vm_spec_free(VmSpec *spec) {
    strlist_free(&spec->env);
}

int vm_spec_from_json(const json_t *json, VmSpec *spec, Error *error) {
    const char *name = json_string_value(json_object_get(json, "name"));

    (void)error;
    (void)snprintf(spec->name, sizeof(spec->name), "%s", name ? name : "made-up");
    spec->remove = json_is_true(json_object_get(json, "remove"));
    return 0;
}

static json_t *vm_json(const char *name) {
    return json_pack("{s:s, s:s}", "id", name, "name", name);
}

int vm_create(Ramet *ramet, Operation *operation, const VmSpec *spec, json_t **vm, Error *error) {
    (void)ramet;
    (void)operation;
    (void)error;
    *vm = vm_json(spec->name);
    return 0;
}

int vm_run(Ramet *ramet, Operation *operation, const VmSpec *spec, bool attached, json_t **vm,
           Error *error) {
    (void)ramet;
    (void)attached;
    if (str_equal(spec->name, "refused"))
        return error_set(error, ERROR_CONFLICT, 0, "the name refused is taken");
    tell(operation, "plan");
    if (str_equal(spec->name, "slow"))
        return wait_cancelled(operation, error);
    tell(operation, "boot");
    if (str_equal(spec->name, "bad"))
        return error_set(error, ERROR_GUEST_NOT_READY, 0, "the guest says nothing");
    *vm = vm_json(spec->name);
    return 0;
}

int vm_start(Ramet *ramet, Operation *operation, const char *reference, bool cold, json_t **vm,
             Error *error) {
    (void)cold;
    (void)operation;
    return vm_inspect(ramet, reference, vm, error);
}

int vm_stop(Ramet *ramet, Operation *operation, const char *reference, uint64_t timeout_usec,
            json_t **vm, Error *error) {
    (void)operation;
    (void)timeout_usec;
    return vm_inspect(ramet, reference, vm, error);
}

int vm_restart(Ramet *ramet, Operation *operation, const char *reference, bool cold,
               uint64_t timeout_usec, json_t **vm, Error *error) {
    (void)operation;
    (void)cold;
    (void)timeout_usec;
    return vm_inspect(ramet, reference, vm, error);
}

int vm_kill(Ramet *ramet, Operation *operation, const char *reference, json_t **vm, Error *error) {
    (void)operation;
    return vm_inspect(ramet, reference, vm, error);
}

int vm_pause(Ramet *ramet, Operation *operation, const char *reference, json_t **vm, Error *error) {
    (void)operation;
    return vm_inspect(ramet, reference, vm, error);
}

int vm_unpause(Ramet *ramet, Operation *operation, const char *reference, json_t **vm,
               Error *error) {
    (void)operation;
    return vm_inspect(ramet, reference, vm, error);
}

int vm_remove(Ramet *ramet, Operation *operation, const char *reference, bool force, Error *error) {
    _cleanup_json_ json_t *vm = NULL;

    (void)operation;
    (void)force;
    fake_removed++;
    return vm_inspect(ramet, reference, &vm, error);
}

int vm_wait(Ramet *ramet, Operation *operation, const char *reference, const char *state,
            json_t **vm, Error *error) {
    (void)ramet;
    (void)reference;
    (void)state;
    (void)vm;
    return wait_cancelled(operation, error);
}

int vm_inspect(Ramet *ramet, const char *reference, json_t **vm, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int r = vms_find(ramet->store, reference, &row, error);

    if (r == 0)
        *vm = vm_json(row.name);
    return r;
}

int vm_list(Ramet *ramet, bool all, json_t **list, Error *error) {
    (void)ramet;
    (void)error;
    *list = all ? json_pack("[o]", vm_json("web1")) : json_array();
    return 0;
}

int vm_stages(Ramet *ramet, const char *reference, json_t **stages, Error *error) {
    return vm_inspect(ramet, reference, stages, error);
}

static void *echo(void *data) {
    int fd = (int)(intptr_t)data;
    char buffer[256];

    for (;;) {
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        ssize_t n;

        CHECK(poll(&pollfd, 1, 60000) == 1);
        n = read(fd, buffer, sizeof(buffer));
        if (n <= 0)
            break;
        CHECK_INT(fd_write_full(fd, buffer, (size_t)n), 0);
    }
    (void)fd_close(fd);
    return NULL;
}

int vm_hand_stream(Ramet *ramet, const char *reference, const char *op, const json_t *request,
                   int client_fd, Error *error) {
    pthread_t thread;
    int fd;

    (void)ramet;
    (void)request;
    if (str_equal(reference, "unheard"))
        return error_set(error, ERROR_FAILED, 0, "the keeper is gone");
    fd = fcntl(client_fd, F_DUPFD_CLOEXEC, 0);
    CHECK_INT(fd_write_full(fd, op, strlen(op)), 0);
    CHECK_INT(pthread_create(&thread, NULL, echo, (void *)(intptr_t)fd), 0);
    pthread_detach(thread);
    return 0;
}

int vm_open_folder(Ramet *ramet, const char *reference, char id[33], int *fd, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    _cleanup_free_ char *folder = NULL;
    int r = vms_find(ramet->store, reference, &row, error);

    if (r < 0)
        return r;
    folder = fake_vm_folder(ramet, row.name);
    *fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(*fd >= 0);
    memcpy(id, row.id, sizeof(row.id));
    return 0;
}

/* --- vm/images.h --- */

int image_op_build(Ramet *ramet, Operation *operation, const ImageBuildOptions *options,
                   json_t **image, Error *error) {
    (void)ramet;
    (void)operation;
    (void)error;
    *image = json_pack("{s:s, s:i}", "name", options->name, "packages", (int)options->n_include);
    return 0;
}

/* Gives back what the file holds. */
int image_op_import(Ramet *ramet, Operation *operation, const ImageImportOptions *options,
                    json_t **image, Error *error) {
    char bytes[4096];
    ssize_t n = options->fd >= 0 ? fd_read_full(options->fd, bytes, sizeof(bytes)) : 0;

    (void)ramet;
    (void)error;
    CHECK(n >= 0);
    tell(operation, "import");
    *image = json_pack("{s:s, s:s%, s:s*}", "name", options->name, "bytes", bytes, (size_t)n,
                       "path", options->path);
    return 0;
}

int image_op_list(Ramet *ramet, json_t **list, Error *error) {
    (void)ramet;
    (void)error;
    *list = json_array();
    return 0;
}

int image_op_inspect(Ramet *ramet, int cancel_fd, const char *reference, json_t **image,
                     Error *error) {
    (void)ramet;
    (void)image;
    return error_set(error, ERROR_NOT_FOUND, 0, "there is no image %s", reference);
}

int image_op_remove(Ramet *ramet, Operation *operation, const char *reference, Error *error) {
    (void)operation;
    return image_op_inspect(ramet, -1, reference, NULL, error);
}

/* --- snapshots: that they are called is all that is tested here --- */

static int called(const char *what, json_t **answer) {
    *answer = json_pack("{s:s}", "called", what);
    return 0;
}

int snapshot_create(Ramet *ramet, Operation *operation, const char *vm, const char *name,
                    const char *compress, json_t **snapshot, Error *error) {
    return called(name ? name : vm, snapshot);
}

int snapshot_list(Ramet *ramet, bool all, json_t **list, Error *error) {
    return called(all ? "all" : "list", list);
}

int snapshot_inspect(Ramet *ramet, Operation *operation, const char *reference, json_t **snapshot,
                     Error *error) {
    return called(reference, snapshot);
}

int snapshot_tree(Ramet *ramet, json_t **tree, Error *error) {
    return called("tree", tree);
}

int snapshot_prove(Ramet *ramet, Operation *operation, const char *reference, unsigned count,
                   json_t **report, Error *error) {
    return error_set(error, ERROR_NOT_FOUND, 0, "no snapshot");
}

int snapshot_verify(Ramet *ramet, Operation *operation, const char *reference, json_t **report,
                    Error *error) {
    return called(reference, report);
}

int snapshot_remove(Ramet *ramet, Operation *operation, const char *reference, bool cascade,
                    json_t **removed, Error *error) {
    return called(cascade ? "cascade" : reference, removed);
}

int ramet_prune(Ramet *ramet, Operation *operation, json_t **report, Error *error) {
    return called("prune", report);
}

int vm_fork(Ramet *ramet, Operation *operation, const ForkOptions *options, json_t **answer,
            Error *error) {
    return called(options->source, answer);
}

int vm_standby(Ramet *ramet, Operation *operation, const char *reference, json_t **vm,
               Error *error) {
    return called(reference, vm);
}

int vm_resume(Ramet *ramet, Operation *operation, const char *reference, json_t **vm,
              Error *error) {
    return called(reference, vm);
}

int pool_set(Ramet *ramet, Operation *operation, const char *source, unsigned count, bool wait,
             json_t **pool, Error *error) {
    return called(source, pool);
}

int pool_list(Ramet *ramet, json_t **list, Error *error) {
    return called("pools", list);
}
