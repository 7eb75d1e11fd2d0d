/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "catalog/images.h"
#include "home/home.h"
#include "home/operation.h"
#include "home/spec.h"
#include "lab/lab.h"
#include "lab/lab_fork.h"
#include "lab/lab_run.h"
#include "lab/lab_snapshot.h"
#include "lineage/snapshot_describe.h"
#include "machine/capture.h"
#include "machine/impair.h"
#include "machine/limit.h"
#include "machine/look/stats.h"
#include "machine/machine.h"
#include "machine/ports.h"
#include "machine/program.h"
#include "machine/update.h"
#include "network/network.h"
#include "pool/pool.h"
#include "recipe/recipe.h"
#include "run/hand_over.h"
#include "storage/seeds.h"
#include "storage/volumes.h"
#include "store/events.h"
#include "store/open.h"
#include "store/vms.h"
#include "tend/wake.h"
#include "transfer/transfer.h"
#include "usage/df.h"
#include "usage/prune.h"
#include "verbs/doctor_home.h"
#include "verbs/verbs.h"

#include "check.h"
#include "fake_vm.h"

#define SUBSCRIBERS 16

struct Home {
    char *path;
    Store *store;
    pthread_mutex_t lock;
    int subscribers[SUBSCRIBERS];
};

atomic_int fake_cancelled, fake_waiting, fake_removed;

Home *fake_home_new(const char *path) {
    Home *home = calloc(1, sizeof(*home));
    _cleanup_free_ char *database = path_join(path, "ramet.db");
    _cleanup_free_ char *scratch = path_join(path, "tmp");
    CHECK(home);
    home->path = str_copy(path);
    CHECK_INT(path_make_folders(scratch, 0700), 0);
    CHECK_INT(store_open(database, &home->store, NULL), 0);
    pthread_mutex_init(&home->lock, NULL);
    for (size_t i = 0; i < SUBSCRIBERS; i++)
        home->subscribers[i] = -1;
    return home;
}

void fake_home_free(Home *home) {
    for (size_t i = 0; i < SUBSCRIBERS; i++)
        CHECK_INT(home->subscribers[i], -1);
    (void)store_close(home->store);
    free(home->path);
    free(home);
}

char *fake_vm_folder(Home *home, const char *name) {
    return path_join(home->path, "vms", name);
}

void fake_add_vm(Home *home, const char *name, const char *state) {
    static unsigned count;
    _cleanup_vm_row_ VmRow row = {0};
    _cleanup_free_ char *folder = fake_vm_folder(home, name);
    count++;
    (void)snprintf(row.id, sizeof(row.id), "%032x", count);
    (void)snprintf(row.name, sizeof(row.name), "%s", name);
    CHECK_INT(vm_state_from_name(state, &row.state), 0);
    (void)snprintf(row.mac, sizeof(row.mac), "52:54:00:00:00:%02x", count);
    CHECK_INT(vms_insert(home->store, &row, NULL), 0);
    CHECK_INT(path_make_folders(folder, 0700), 0);
}

void fake_set_state(Home *home, const char *name, const char *state) {
    _cleanup_vm_row_ VmRow row = {0};
    CHECK_INT(vms_find(home->store, name, &row, NULL), 0);
    CHECK_INT(vm_state_from_name(state, &row.state), 0);
    CHECK_INT(vms_update(home->store, &row, NULL), 0);
    home_event(home, state, row.id, row.name, NULL);
}

/* ---- home/home.h ---- */

const char *home_path(const Home *home) {
    return home->path;
}

Store *home_store(Home *home) {
    return home->store;
}

void home_event(Home *home, const char *type, const char *vm, const char *name,
                const json_t *detail) {
    uint64_t id;

    CHECK_INT(events_add(home->store, type, vm, name, detail, &id, NULL), 0);
    pthread_mutex_lock(&home->lock);
    for (size_t i = 0; i < SUBSCRIBERS; i++)
        if (home->subscribers[i] >= 0)
            (void)eventfd_write(home->subscribers[i], 1);
    pthread_mutex_unlock(&home->lock);
}

int home_events(Home *home, uint64_t since, size_t max, json_t **array, Error *error) {
    return events_list(home->store, since, max, array, error);
}

int home_doctor(Home *home, json_t **json, Error *error);

int home_doctor(Home *home, json_t **json, Error *error) {
    (void)home;
    (void)error;
    *json = json_pack("{s:[]}", "checks");
    return 0;
}

int home_subscribe(Home *home) {
    int fd = -EMFILE;
    pthread_mutex_lock(&home->lock);
    for (size_t i = 0; fd < 0 && i < SUBSCRIBERS; i++)
        if (home->subscribers[i] < 0)
            fd = home->subscribers[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_unlock(&home->lock);
    return fd;
}

void home_unsubscribe(Home *home, int fd) {
    pthread_mutex_lock(&home->lock);
    for (size_t i = 0; i < SUBSCRIBERS; i++)
        if (home->subscribers[i] == fd)
            home->subscribers[i] = -1;
    (void)fd_close(fd);
    pthread_mutex_unlock(&home->lock);
}

/* ---- home/operation.h ---- */

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

/* ---- home/spec.h, machine/vm.h ---- */

int vm_spec_parse(const json_t *json, VmSpec *spec, Error *error) {
    const char *name = json_string_value(json_object_get(json, "name"));
    (void)error;
    (void)snprintf(spec->name, sizeof(spec->name), "%s", name ? name : "made-up");
    spec->remove = json_is_true(json_object_get(json, "remove"));
    return 0;
}

static json_t *vm_json(const char *name) {
    return json_pack("{s:s, s:s}", "id", name, "name", name);
}

int vm_create(Home *home, Operation *operation, const VmSpec *spec, json_t **vm, Error *error) {
    (void)home;
    (void)operation;
    (void)error;
    *vm = vm_json(spec->name);
    return 0;
}

int vm_run(Home *home, Operation *operation, const VmSpec *spec, bool attached, json_t **vm,
           Error *error) {
    (void)home;
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

int vm_start(Home *home, Operation *operation, const char *reference, bool cold, json_t **vm,
             Error *error) {
    (void)cold;
    (void)operation;
    return vm_inspect(home, reference, vm, error);
}

int vm_stop(Home *home, Operation *operation, const char *reference, uint64_t timeout_usec,
            json_t **vm, Error *error) {
    (void)operation;
    (void)timeout_usec;
    return vm_inspect(home, reference, vm, error);
}

int vm_restart(Home *home, Operation *operation, const char *reference, bool cold,
               uint64_t timeout_usec, json_t **vm, Error *error) {
    (void)operation;
    (void)cold;
    (void)timeout_usec;
    return vm_inspect(home, reference, vm, error);
}

int vm_kill(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error) {
    (void)operation;
    return vm_inspect(home, reference, vm, error);
}

int vm_pause(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error) {
    (void)operation;
    return vm_inspect(home, reference, vm, error);
}

int vm_unpause(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error) {
    (void)operation;
    return vm_inspect(home, reference, vm, error);
}

int tend_wake(Home *home, Operation *operation, const char *reference, const char *why,
              Error *error) {
    (void)home;
    (void)operation;
    (void)reference;
    (void)why;
    (void)error;
    return 0;
}

int vm_update(Home *home, Operation *operation, const char *reference, const json_t *changes,
              json_t **vm, Error *error) {
    (void)operation;
    (void)changes;
    return vm_inspect(home, reference, vm, error);
}

int vm_remove(Home *home, Operation *operation, const char *reference, bool force, json_t **removed,
              Error *error) {
    _cleanup_json_ json_t *vm = NULL;
    (void)operation;
    (void)force;
    fake_removed++;
    return vm_inspect(home, reference, removed ? removed : &vm, error);
}

int vm_wait(Home *home, Operation *operation, const char *reference, const char *state,
            bool program, json_t **vm, Error *error) {
    (void)home;
    (void)program;
    (void)reference;
    (void)state;
    (void)vm;
    return wait_cancelled(operation, error);
}

int vm_wait_for(Home *home, Operation *operation, const char *reference, const char *command,
                uint64_t timeout_s, Error *error) {
    (void)home;
    (void)operation;
    (void)timeout_s;
    return str_equal(command, "false")
               ? error_set(error, ERROR_GUEST_NOT_READY, ETIMEDOUT, "%s said no", reference)
               : 0;
}

int vm_inspect(Home *home, const char *reference, json_t **vm, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int r = vms_find(home->store, reference, &row, error);
    if (r == 0)
        *vm = vm_json(row.name);
    return r;
}

int vm_list(Home *home, bool all, const json_t *filters, json_t **list, Error *error) {
    (void)home;
    (void)error;
    *list = all ? json_pack("[o]", vm_json("web1")) : json_array();
    return 0;
}

int vm_stats(Home *home, const Operation *operation, const json_t *references,
             uint64_t interval_usec, json_t **list, Error *error) {
    (void)home;
    (void)operation;
    (void)references;
    (void)error;
    *list = json_pack("[{s:I}]", "interval", (json_int_t)interval_usec);
    return 0;
}

int vm_limit(Home *home, Operation *operation, const char *reference, const char *text, json_t **vm,
             Error *error) {
    (void)operation;
    (void)text;
    return vm_inspect(home, reference, vm, error);
}

int vm_rename(Home *home, Operation *operation, const char *reference, const char *name,
              json_t **vm, Error *error) {
    (void)operation;
    (void)name;
    return vm_inspect(home, reference, vm, error);
}

int vm_stages(Home *home, const char *reference, json_t **stages, Error *error) {
    return vm_inspect(home, reference, stages, error);
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

int vm_hand_stream(Home *home, const char *reference, const char *op, const json_t *request,
                   int client_fd, Error *error) {
    pthread_t thread;
    int fd;
    (void)home;
    (void)request;
    if (str_equal(reference, "unheard"))
        return error_set(error, ERROR_FAILED, 0, "the keeper is gone");
    fd = fcntl(client_fd, F_DUPFD_CLOEXEC, 0);
    CHECK_INT(fd_write_full(fd, op, strlen(op)), 0);
    CHECK_INT(pthread_create(&thread, NULL, echo, (void *)(intptr_t)fd), 0);
    pthread_detach(thread);
    return 0;
}

/* The keeper's part in plain HTTP: says what it was asked, and what the input was. */
static void answer_plain(const int *fds, size_t n_fds, const char *op, const json_t *request) {
    char input[256] = "";
    _cleanup_json_ json_t *said = NULL;
    _cleanup_free_ char *text = NULL, *response = NULL;
    if (n_fds > 1)
        CHECK(read(fds[1], input, sizeof(input) - 1) >= 0);
    said = json_pack("{s:s, s:O, s:s}", "op", op, "request", request, "input", input);
    text = json_to_text(said);
    response = str_format("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                          strlen(text), text);
    CHECK_INT(fd_write_full(fds[0], response, strlen(response)), 0);
}

int vm_ask_keeper(Home *home, const char *reference, const char *op, const json_t *request,
                  const int *fds, size_t n_fds, json_t **answer, Error *error) {
    (void)home;
    if (str_equal(json_string_value(json_object_get(request, "id")), "refused"))
        return error_set(error, ERROR_CONFLICT, 0, "%s is paused", reference);
    if (str_equal(op, "ping"))
        *answer = json_pack("{s:i}", "value", 17);
    else if (str_equal(op, "status"))
        *answer = json_pack("{s:s, s:i}", "ram_nonce", "aa", "counter", 3);
    else if (str_equal(op, "exec_detached"))
        *answer = json_pack("{s:s}", "id", "d1");
    else if (str_equal(op, "exec_list"))
        *answer = json_pack("{s:[{s:s}]}", "list", "id", "d1");
    else if (!str_equal(op, "exec_kill"))
        answer_plain(fds, n_fds, op, request);
    return 0;
}

int vm_open_folder(Home *home, const char *reference, char id[33], int *fd, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    _cleanup_free_ char *folder = NULL;
    int r = vms_find(home->store, reference, &row, error);
    if (r < 0)
        return r;
    folder = fake_vm_folder(home, row.name);
    *fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(*fd >= 0);
    memcpy(id, row.id, sizeof(row.id));
    return 0;
}

/* ---- catalog/images.h ---- */

int image_op_build(Home *home, Operation *operation, const ImageBuildOptions *options,
                   json_t **image, Error *error) {
    (void)home;
    (void)operation;
    (void)error;
    *image = json_pack("{s:s, s:i}", "name", options->name, "packages", (int)options->n_include);
    return 0;
}

int recipe_build(Home *home, Operation *operation, const RecipeOptions *options, json_t **image,
                 Error *error) {
    (void)home;
    (void)error;
    tell(operation, "recipe");
    *image =
        json_pack("{s:s, s:I}", "name", options->name, "bytes", (json_int_t)options->json_bytes);
    return 0;
}

int image_op_pull(Home *home, Operation *operation, const ImagePullOptions *options, json_t **image,
                  Error *error) {
    (void)home;
    (void)error;
    tell(operation, "pull");
    *image = json_pack("{s:s*, s:s}", "name", options->request.name, "reference",
                       options->request.reference);
    return 0;
}

int program_start_in(Home *home, const json_t *vm, Error *error) {
    (void)home;
    (void)vm;
    (void)error;
    return 0;
}

int program_attach(Home *home, const json_t *vm, json_t *exec, Error *error) {
    (void)home;
    (void)vm;
    (void)exec;
    (void)error;
    return 0;
}

/* Gives back what the file holds. */
int image_op_import(Home *home, Operation *operation, const ImageImportOptions *options,
                    json_t **image, Error *error) {
    char bytes[4096];
    ssize_t n = options->fd >= 0 ? fd_read_full(options->fd, bytes, sizeof(bytes)) : 0;
    (void)home;
    (void)error;
    CHECK(n >= 0);
    tell(operation, "import");
    *image = json_pack("{s:s, s:s%, s:s*}", "name", options->name, "bytes", bytes, (size_t)n,
                       "path", options->path);
    return 0;
}

int image_op_list(Home *home, json_t **list, Error *error) {
    (void)home;
    (void)error;
    *list = json_array();
    return 0;
}

int image_op_inspect(Home *home, const char *reference, json_t **image, Error *error) {
    (void)home;
    (void)image;
    return error_set(error, ERROR_NOT_FOUND, 0, "there is no image %s", reference);
}

int image_op_remove(Home *home, Operation *operation, const char *reference, Error *error) {
    (void)operation;
    return image_op_inspect(home, reference, NULL, error);
}

int image_op_tag(Home *home, Operation *operation, const char *reference, const char *name,
                 bool replace, json_t **image, Error *error) {
    (void)operation;
    (void)name;
    (void)replace;
    return image_op_inspect(home, reference, image, error);
}

/* ---- snapshots: that they are called is all that is tested here ---- */

static int called(const char *what, json_t **answer) {
    *answer = json_pack("{s:s}", "called", what);
    return 0;
}

int snapshot_create(Home *home, Operation *operation, const char *vm, const char *name,
                    const char *compress, bool clone_volumes, json_t **snapshot, Error *error) {
    return called(name ? name : vm, snapshot);
}

int snapshot_list(Home *home, bool all, json_t **list, Error *error) {
    return called(all ? "all" : "list", list);
}

int snapshot_inspect(Home *home, Operation *operation, const char *reference, json_t **snapshot,
                     Error *error) {
    return called(reference, snapshot);
}

int snapshot_tree(Home *home, json_t **tree, Error *error) {
    return called("tree", tree);
}

int snapshot_verify(Home *home, Operation *operation, const char *reference, json_t **report,
                    Error *error) {
    return called(reference, report);
}

int snapshot_remove(Home *home, Operation *operation, const char *reference, bool cascade,
                    json_t **removed, Error *error) {
    return called(cascade ? "cascade" : reference, removed);
}

int vm_commit(Home *home, Operation *operation, const char *vm, const char *name, bool replace,
              json_t **image, Error *error) {
    return called(name, image);
}

int home_df(Home *home, bool items, json_t **usage, Error *error) {
    return called(items ? "items" : "df", usage);
}

int home_prune(Home *home, Operation *operation, const PruneOptions *options, json_t **report,
               Error *error) {
    return called(options->dry_run ? "dry" : "prune", report);
}

int vm_fork(Home *home, Operation *operation, const ForkOptions *options, json_t **answer,
            Error *error) {
    if (!options->owned)
        return called(options->source, answer);
    *answer = json_pack("{s:[{s:s, s:s}]}", "vms", "id", options->source, "name", "c");
    return 0;
}

int vm_standby(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error) {
    return called(reference, vm);
}

int vm_resume(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error) {
    return called(reference, vm);
}

int pool_set(Home *home, Operation *operation, const char *source, unsigned count, bool wait,
             json_t **pool, Error *error) {
    return called(source, pool);
}

int pool_list(Home *home, json_t **list, Error *error) {
    return called("pools", list);
}

int network_create(Home *home, const NetworkOptions *options, json_t **network, Error *error) {
    return called(options->name, network);
}

int network_inspect(Home *home, const char *name, json_t **network, Error *error) {
    return called(name, network);
}

int network_list(Home *home, json_t **list, Error *error) {
    return called("networks", list);
}

int seed_create(Home *home, Operation *operation, const SeedOptions *options, json_t **seed,
                Error *error) {
    return called(options->name, seed);
}

int seed_inspect(Home *home, const char *reference, json_t **seed, Error *error) {
    return called(reference, seed);
}

int seed_list(Home *home, json_t **list, Error *error) {
    return called("seeds", list);
}

int seed_remove(Home *home, const char *reference, Error *error) {
    return called(reference, NULL);
}

int volume_create(Home *home, Operation *operation, const VolumeOptions *options, json_t **volume,
                  Error *error) {
    return called(options->name, volume);
}

int volume_export(Home *home, Operation *operation, const char *reference, const char *path,
                  const char *format, Error *error) {
    return called(reference, NULL);
}

int volume_inspect(Home *home, const char *reference, json_t **volume, Error *error) {
    return called(reference, volume);
}

int volume_list(Home *home, json_t **list, Error *error) {
    return called("volumes", list);
}

int volume_remove(Home *home, const char *reference, Error *error) {
    return called(reference, NULL);
}

int network_remove(Home *home, const char *name, Error *error) {
    return called(name, NULL);
}

int lab_up(Home *home, Operation *operation, const char *name, const json_t *description,
           json_t **lab, Error *error) {
    return called(name, lab);
}

int lab_down(Home *home, Operation *operation, const char *reference, json_t **removed,
             Error *error) {
    return called(reference, removed);
}

int lab_inspect(Home *home, const char *reference, json_t **lab, Error *error) {
    return called(reference, lab);
}

int lab_run_again(Home *home, Operation *operation, const json_t *vm, Error *error) {
    return 0;
}

int lab_list(Home *home, json_t **list, Error *error) {
    return called("labs", list);
}

int lab_snapshot_create(Home *home, Operation *operation, const char *lab, const char *name,
                        bool clone_volumes, json_t **snapshot, Error *error) {
    return called(name, snapshot);
}

int lab_snapshot_list(Home *home, json_t **list, Error *error) {
    return called("lab-snapshots", list);
}

int lab_snapshot_inspect(Home *home, const char *reference, json_t **snapshot, Error *error) {
    return called(reference, snapshot);
}

int lab_snapshot_remove(Home *home, Operation *operation, const char *reference, json_t **removed,
                        Error *error) {
    return called(reference, removed);
}

int lab_fork(Home *home, Operation *operation, const LabForkOptions *options, json_t **answer,
             Error *error) {
    return called(options->source, answer);
}

int vm_port_add(Home *home, Operation *operation, const char *reference, const json_t *forward,
                json_t **vm, Error *error) {
    return called(reference, vm);
}

int vm_port_remove(Home *home, Operation *operation, const char *reference, uint64_t host_port,
                   bool udp, json_t **vm, Error *error) {
    return called(reference, vm);
}

int capture_find(Home *home, const char *name, const char *card, CaptureTarget *target,
                 Error *error) {
    (void)home;
    (void)card;
    (void)target;
    return error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no VM %s", name);
}

int network_capture_begin(const CaptureTarget *target, int output_fd, Error *error) {
    (void)target;
    (void)output_fd;
    (void)error;
    return 0;
}

void network_capture_close(CaptureTarget *target) {
    (void)target;
}

int impair(Home *home, Operation *operation, const char *target, const Impairment *impairment,
           json_t **answer, Error *error) {
    return called(target, answer);
}

int image_export(Home *home, Operation *operation, const char *reference,
                 const ArchiveOutput *output, Error *error) {
    return output->send(output->data, reference, strlen(reference), error);
}

int archive_import_image(Home *home, Operation *operation, const ArchiveImport *import,
                         json_t **image, Error *error) {
    return called("archive", image);
}

int snapshot_export(Home *home, Operation *operation, const char *reference, const char *since,
                    const ArchiveOutput *output, Error *error) {
    return output->send(output->data, reference, strlen(reference), error);
}

int archive_import_snapshot(Home *home, Operation *operation, const ArchiveImport *import,
                            json_t **snapshot, Error *error) {
    return called("archive", snapshot);
}

int transfer_pull_snapshot(Home *home, Operation *operation, const ImagePullRequest *request,
                           json_t **snapshot, Error *error) {
    return called("archive", snapshot);
}
