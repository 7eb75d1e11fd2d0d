/* SPDX-License-Identifier: Apache-2.0 */

/* Taking a snapshot.
 *
 *   row `creating` → the disk gets a new overlay (layers.c) → the keeper saves device state and
 *   memory into scratch files and switches the disk, the VM paused only for that → hash, publish by
 *   rename → row `ready`
 *
 * A VM that does not run has no memory: its overlay is frozen, and that is all. One in standby
 * lends its memory files by hard links.
 *
 * What a failure or a crash leaves: a row `creating`, which nobody sees and which the next start
 * removes with its files; scratch below tmp/, which is emptied; and a VM that runs on. A switch of
 * the disk that was done is not undone: the frozen layer then stays as a part of the VM's chain. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/log.h"
#include "disk/publish.h"
#include "proto/keeper.h"
#include "vm/snapshot_internal.h"

#define FREEZE_TIMEOUT_USEC (60 * USEC_PER_SEC)
#define SAVE_TIMEOUT_USEC (1800 * USEC_PER_SEC)

typedef struct Take {
    Ramet *ramet;         /* borrowed */
    Operation *operation; /* borrowed */
    VmRow *vm;            /* borrowed */
    const TakeOptions *options;
    SnapshotRow row;  /* owned */
    Publish *publish; /* owned */
    int hot_fd;       /* owned: hot memory with what the memory base holds; -1: none */
    bool switched;    /* the keeper said that the VM writes to the new overlay */
} Take;

static void take_free(Take *take) {
    snapshot_row_free(&take->row);
    publish_free(take->publish);
    (void)fd_close(take->hot_fd);
}

/* --- the row -----------------------------------------------------------------------------------
 */

static json_t *copy_member(const json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);

    return value ? json_deep_copy(value) : json_null();
}

static void fill_row(Take *take) {
    _cleanup_free_ char *id = random_hex(16);
    const VmRow *vm = take->vm;
    SnapshotRow *row = &take->row;

    *row = (SnapshotRow){.state = SNAPSHOT_CREATING,
                         .automatic = take->options->purpose != NULL,
                         .created_at_usec = clock_realtime_usec()};
    (void)snprintf(row->id, sizeof(row->id), "%s", id);
    if (take->options->name)
        (void)snprintf(row->name, sizeof(row->name), "%s", take->options->name);
    if (take->options->purpose)
        (void)snprintf(row->purpose, sizeof(row->purpose), "%s", take->options->purpose);
    (void)snprintf(row->vm, sizeof(row->vm), "%s", vm->name);
    (void)snprintf(row->vm_id, sizeof(row->vm_id), "%s", vm->id);
    (void)snprintf(row->image, sizeof(row->image), "%s", vm->image);
    (void)snprintf(row->image_digest, sizeof(row->image_digest), "%s", vm->image_digest);
    (void)snprintf(row->parent, sizeof(row->parent), "%s", vm->snapshot);
    (void)snprintf(row->layer, sizeof(row->layer), "%s", row_text(vm, "layer"));
    row->data = json_pack("{s:o, s:o, s:o, s:o, s:o, s:{}}", "spec", json_deep_copy(vm->spec),
                          "kernel_key", copy_member(vm->runtime, "kernel_key"), "initramfs_key",
                          copy_member(vm->runtime, "initramfs_key"), "base_path",
                          copy_member(vm->runtime, "base"), "memory_bytes",
                          copy_member(vm->spec, "memory_bytes"), "files");
}

/* What the VM was started under, which may differ from what the host has by now. */
static int make_facts(Take *take, Error *error) {
    json_t *facts = json_object_get(take->vm->runtime, "facts");
    QemuFeatures features = {0};
    const char *accel;
    int r;

    if (facts && state_is_active(take->vm->state)) {
        facts = json_deep_copy(facts);
    } else {
        r = host_probe(take->ramet, &features, &accel, error);
        if (r < 0)
            return r;
        facts = snapshot_facts(&features, accel, take->vm);
        qemu_features_free(&features);
    }
    if (!facts)
        return error_set(error, ERROR_FAILED, EINVAL, "cannot describe %s", take->vm->name);
    (void)json_object_set_new(take->row.data, "facts", facts);
    snapshot_key(facts, take->row.key);
    if (take->options->key)
        (void)snprintf(take->row.key, sizeof(take->row.key), "%s", take->options->key);
    return 0;
}

static void set_data(Take *take, const char *key, json_t *value) {
    (void)json_object_set_new(take->row.data, key, value);
}

/* --- files -------------------------------------------------------------------------------------
 */

static int begin_files(Take *take, Error *error) {
    PublishOptions options = {.home = take->ramet->home,
                              .kind = "snapshots",
                              .name = take->row.id,
                              .folder = true,
                              .deadline_usec = clock_monotonic_usec() + 60 * USEC_PER_SEC,
                              .cancel_fd = take->operation->cancel_fd};
    bool exists;

    return publish_begin(&options, &take->publish, &exists, error);
}

/* What was written so far goes: a full disk has room again for the store's own pages. */
static void drop_files(Take *take) {
    publish_free(take->publish);
    take->publish = NULL;
}

/* When hot memory cannot be filled, the base is merely hashed. */
static int hash_base(Take *take, int fd, char digest[FROZEN_DIGEST_SIZE], Error *error) {
    TreeDigestOptions options = {.cancel_fd = -1, .visit = hot_memory_copy, .data = &take->hot_fd};

    if (!take->options->standby)
        take->hot_fd = hot_memory_begin(take->ramet, take->row.id, fd, take->row.automatic);
    if (take->hot_fd >= 0 && tree_digest_file(fd, &options, digest, NULL) >= 0)
        return 0;
    take->hot_fd = fd_close(take->hot_fd);
    options.visit = NULL;
    return tree_digest_file(fd, &options, digest, error);
}

/* base: a memory base, which is mostly holes: its SHA-256 is left for who asks for it. */
static int remember_file(Take *take, const char *which, const char *name, bool base, Error *error) {
    int dir_fd = publish_scratch_fd(take->publish);
    _cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char digest[FROZEN_DIGEST_SIZE];
    json_t *stamp;
    int r;

    if (fd < 0)
        return error_set_errno(error, errno, "cannot open the saved %s", which);
    (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* goes on while it is hashed */
    r = base ? hash_base(take, fd, digest, error) : sha256_file(fd, digest, error);
    if (r >= 0)
        r = stamp_make(fd, &stamp, error);
    if (r < 0)
        return r;
    (void)json_object_set_new(json_object_get(take->row.data, "files"), which,
                              json_pack("{s:s, s:s, s:o}", "name", name, base ? "tree" : "sha256",
                                        digest, "stamp", stamp));
    return 0;
}

/* In place of remember_file; the VM has gone on by now. */
static int compress_memory(Take *take, const char *name, Error *error) {
    int dir_fd = publish_scratch_fd(take->publish), r;
    _cleanup_json_ json_t *entry = NULL;
    _cleanup_close_ int fd = -1;
    json_t *stamp;

    operation_enter(take->operation, "compress");
    r = snapshot_pack_file(dir_fd, name, &entry, error);
    if (r < 0)
        return r;
    name = json_string_value(json_object_get(entry, "name"));
    fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open the compressed memory");
    r = stamp_make(fd, &stamp, error);
    if (r < 0)
        return r;
    (void)json_object_set_new(entry, "stamp", stamp);
    (void)json_object_set(json_object_get(take->row.data, "files"), "memory", entry);
    return 0;
}

static int finish_files(Take *take, const char *kind, Error *error) {
    bool diff = str_equal(kind, "diff");
    const char *name = diff ? "memory.diff" : "memory.base";
    int dir_fd = publish_scratch_fd(take->publish), r;

    operation_enter(take->operation, "publish");
    if (renameat(dir_fd, "memory", dir_fd, name) < 0)
        return error_set_errno(error, errno, "cannot name the saved memory");
    r = take->options->compress ? compress_memory(take, name, error)
                                : remember_file(take, "memory", name, !diff, error);
    if (r >= 0)
        r = remember_file(take, "state", "state", false, error);
    if (r >= 0)
        r = publish_commit(take->publish, error);
    if (r < 0)
        return r;
    set_data(take, "kind", json_string(diff ? "diff" : "full"));
    (void)snprintf(take->row.base, sizeof(take->row.base), "%s",
                   diff ? row_text(take->vm, "memory_owner") : take->row.id);
    return 0;
}

/* --- a VM that runs ----------------------------------------------------------------------------
 */

typedef struct SaveFiles {
    int fds[4]; /* state, memory, new overlay to read, and to write */
    size_t count;
} SaveFiles;

static void save_files_close(SaveFiles *files) {
    for (size_t i = 0; i < files->count; i++)
        (void)fd_close(files->fds[i]);
}

static int save_files_add(SaveFiles *files, int dir_fd, const char *name, int flags, Error *error) {
    int fd = openat(dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", name);
    files->fds[files->count++] = fd;
    return 0;
}

static int open_save_files(Take *take, bool with_disk, SaveFiles *files, Error *error) {
    int dir_fd = publish_scratch_fd(take->publish), r;
    _cleanup_close_ int vm_fd = -1;

    r = vm_folder_open(take->ramet, take->vm->id, &vm_fd, error);
    if (r >= 0) /* write-only, as QEMU wants it */
        r = save_files_add(files, dir_fd, "state", O_WRONLY | O_CREAT | O_EXCL, error);
    if (r >= 0)
        r = save_files_add(files, dir_fd, "memory", O_RDWR | O_CREAT | O_EXCL, error);
    if (r >= 0 && with_disk)
        r = save_files_add(files, vm_fd, layer_freezing_file(take->vm), O_RDONLY, error);
    if (r >= 0 && with_disk)
        r = save_files_add(files, vm_fd, layer_freezing_file(take->vm), O_RDWR, error);
    return r;
}

static void hear_event(void *data, const json_t *event) {
    Take *take = data;
    const char *kind = json_string_value(json_object_get(event, "event"));
    const char *name = json_string_value(json_object_get(event, "name"));

    if (str_equal(kind, "disks_switched"))
        take->switched = true;
    else if (str_equal(kind, "stage") && name)
        operation_enter_at(take->operation, name,
                           (uint64_t)json_integer_value(json_object_get(event, "at_us")));
}

/* The client's leaving does not end it: the keeper would go on by itself. */
static int call_keeper(Take *take, bool with_disk, json_t **ok, Error *error) {
    _cleanup_json_ json_t *request = json_pack(
        "{s:s, s:i, s:i, s:[], s:b, s:b, s:I}", "op", "snapshot", "state_fd", 0, "memory_fd", 1,
        "disks", "freeze", str_equal(take->vm->state, STATE_RUNNING), "stay_paused",
        take->options->standby, "freeze_timeout_us", (json_int_t)FREEZE_TIMEOUT_USEC);
    _cleanup_(save_files_close) SaveFiles files = {0};
    _cleanup_close_ int dir_fd = -1;
    int r = open_save_files(take, with_disk, &files, error);

    if (r >= 0)
        r = vm_folder_open(take->ramet, take->vm->id, &dir_fd, error);
    if (r < 0)
        return r;
    if (with_disk)
        (void)json_array_append_new(json_object_get(request, "disks"),
                                    json_pack("{s:i, s:i}", "fd", 2, "fd_write", 3));
    return keeper_call(dir_fd, request, files.fds, files.count,
                       clock_monotonic_usec() + SAVE_TIMEOUT_USEC, -1, hear_event, take, ok, error);
}

static void take_answer(Take *take, const json_t *ok) {
    static const char *const keys[] = {"pause_us",    "dirty_bytes", "memory_bytes",
                                       "state_bytes", "marker",      "ram_nonce",
                                       "counter",     "mailbox",     "frozen"};

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (json_object_get(ok, keys[i]) && !str_equal(keys[i], "memory_bytes"))
            set_data(take, keys[i], json_incref(json_object_get(ok, keys[i])));
}

/* The disk's part after the keeper's: which overlay is it now? */
static int settle_disk(Take *take, bool failed, Error *error) {
    int r = layer_freeze_settle(take->ramet, take->vm, !failed || take->switched, error);

    if (r >= 0)
        (void)snprintf(take->row.layer, sizeof(take->row.layer), "%s", row_text(take->vm, "layer"));
    return r;
}

static int save_running(Take *take, Error *error) {
    bool with_disk = !take->options->standby;
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_json_ json_t *ok = NULL;
    int r = with_disk ? layer_freeze_begin(take->ramet, take->vm, error) : 0;

    if (r < 0)
        return r;
    r = begin_files(take, &failure);
    if (r >= 0)
        r = call_keeper(take, with_disk, &ok, &failure);
    if (r < 0)
        drop_files(take);
    if (with_disk) {
        int s = settle_disk(take, r < 0, r < 0 ? NULL : &failure);

        r = r < 0 ? r : s;
    }
    if (r < 0)
        return error_move(error, &failure);
    take_answer(take, ok);
    return finish_files(take, json_string_value(json_object_get(ok, "kind")), error);
}

/* --- a VM that does not run --------------------------------------------------------------------
 */

static int freeze_disk(Take *take, Error *error) {
    int r = layer_freeze_begin(take->ramet, take->vm, error);

    return r < 0 ? r : settle_disk(take, false, error);
}

static int link_file(Take *take, const SnapshotRow *from, const char *which, Error *error) {
    const char *name = json_string_value(json_object_get(snapshot_file(from, which), "name"));
    _cleanup_free_ char *path = name ? snapshot_path(take->ramet, from->id, name) : NULL;

    if (!path || linkat(AT_FDCWD, path, publish_scratch_fd(take->publish), name, 0) < 0)
        return error_set_errno(error, path ? errno : ENOENT, "cannot take over the saved %s",
                               which);
    return 0;
}

/* The memory of a VM in standby was saved already: the same files under another name. */
static int borrow_standby(Take *take, Error *error) {
    static const char *const keys[] = {"files",  "kind",      "pause_us",    "dirty_bytes",
                                       "marker", "ram_nonce", "counter",     "mailbox",
                                       "frozen", "facts",     "state_bytes", "memory_bytes"};
    _cleanup_snapshot_row_ SnapshotRow from = {0};
    int r = snapshots_get(take->ramet->store, row_text(take->vm, "standby"), &from, error);

    if (r >= 0)
        r = begin_files(take, error);
    if (r >= 0)
        r = link_file(take, &from, "memory", error);
    if (r >= 0)
        r = link_file(take, &from, "state", error);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (json_object_get(from.data, keys[i]))
            set_data(take, keys[i], json_deep_copy(json_object_get(from.data, keys[i])));
    if (r >= 0 && take->options->compress &&
        !snapshot_file_is_packed(snapshot_file(&from, "memory")))
        r = compress_memory(take, snapshot_is_diff(&from) ? "memory.diff" : "memory.base", error);
    if (r >= 0)
        r = publish_commit(take->publish, error);
    if (r < 0)
        return r;
    (void)snprintf(take->row.key, sizeof(take->row.key), "%s", from.key);
    (void)snprintf(take->row.base, sizeof(take->row.base), "%s",
                   str_equal(from.base, from.id) ? take->row.id : from.base);
    return 0;
}

/* --- all of it ---------------------------------------------------------------------------------
 */

static int check_state(const VmRow *vm, Error *error) {
    static const char *const fit[] = {STATE_CREATED, STATE_RUNNING, STATE_PAUSED,
                                      STATE_STOPPED, STATE_FAILED,  STATE_STANDBY};

    for (size_t i = 0; i < ARRAY_SIZE(fit); i++)
        if (str_equal(vm->state, fit[i]))
            return 0;
    return error_set(error, ERROR_CONFLICT, EBUSY, "%s is %s", vm->name, vm->state);
}

static int freeze(Take *take, Error *error) {
    int r;

    if (state_is_active(take->vm->state))
        return save_running(take, error);
    if (str_equal(take->vm->state, STATE_STANDBY)) {
        r = borrow_standby(take, error);
        if (r < 0)
            return r;
    } else {
        take->row.key[0] = '\0';
    }
    return freeze_disk(take, error);
}

static int become_ready(Take *take, Error *error) {
    _cleanup_json_ json_t *detail = NULL;
    SnapshotRow *row = &take->row;
    int r;

    if (!take->options->standby) {
        r = snapshots_update(take->ramet->store, row, error); /* its layer is in use from here on */
        if (r >= 0)
            r = layer_flatten(take->ramet, take->operation, row, error);
        if (r < 0)
            return r;
    }
    hot_memory_keep(take->ramet, row->id, TAKE_FD(take->hot_fd), row->automatic);
    (void)snprintf(row->state, sizeof(row->state), SNAPSHOT_READY);
    if (row->automatic)
        snapshot_pin_id(take->ramet, row->id);
    r = snapshots_update(take->ramet->store, row, error);
    if (r >= 0)
        r = store_sync(take->ramet->store, error);
    if (r < 0 && row->automatic)
        snapshot_unpin(take->ramet, row->id);
    if (r < 0)
        return r;
    detail = json_pack("{s:s, s:s, s:b}", "snapshot", row->id, "vm", row->vm, "automatic",
                       row->automatic);
    ramet_event(take->ramet, "snapshot.created", row->vm_id, *row->name ? row->name : NULL, detail);
    return 0;
}

void snapshot_undo(Ramet *ramet, const char *id) {
    _cleanup_free_ char *path = snapshot_path(ramet, id, NULL);
    _cleanup_error_ Error error = ERROR_INIT;

    hot_memory_drop(ramet, id);
    if (path_remove_tree(path) < 0)
        log_warning("cannot remove %s", path);
    else if (snapshots_delete(ramet->store, id, &error) < 0)
        log_warning("cannot remove snapshot %s: %s", id, error_message(&error));
}

int snapshot_take(Ramet *ramet, Operation *operation, VmRow *vm, const TakeOptions *options,
                  SnapshotRow *row, Error *error) {
    _cleanup_(take_free) Take take = {
        .ramet = ramet, .operation = operation, .vm = vm, .options = options, .hot_fd = -1};
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = check_state(vm, &failure);

    if (r >= 0)
        r = admission_check_disk(ramet, &failure);
    if (r < 0)
        return error_move(error, &failure);
    fill_row(&take);
    r = make_facts(&take, &failure);
    if (r >= 0)
        r = snapshots_insert(ramet->store, &take.row, &failure);
    if (r < 0)
        return error_move(error, &failure);
    r = freeze(&take, &failure);
    if (r >= 0)
        r = become_ready(&take, &failure);
    if (r < 0) {
        drop_files(&take);
        snapshot_undo(ramet, take.row.id);
        lineage_collect(ramet);
        (void)error_move(error, &failure);
        return error_add_context(error, "cannot take a snapshot of %s", vm->name);
    }
    *row = take.row;
    take.row = (SnapshotRow){0};
    return 0;
}
