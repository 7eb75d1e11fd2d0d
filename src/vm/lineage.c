/* SPDX-License-Identifier: Apache-2.0 */

/* What grows from what, and what may go.
 *
 * A snapshot is needed by its children (snapshots whose VM grew from it, and diffs that stand on
 * its memory), by VMs that grew from it, and by VMs whose running memory or standby it is. All of
 * that is asked of the store each time. Who is about to make such a thing pins the snapshot first.
 *
 * Removal: row `removing` in the same transaction that found nobody needing it, files, row. A crash
 * in between is finished at the next start. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "vm/pool_internal.h"
#include "vm/snapshot_internal.h"
#include "vm/vm.h"

#define COLLECT_AT_ONCE 64

/* --- pins --------------------------------------------------------------------------------------
 */

static Pin *find_pin(Ramet *ramet, const char *id) {
    for (Pin *pin = ramet->pins; pin; pin = pin->next)
        if (str_equal(pin->id, id))
            return pin;
    return NULL;
}

void snapshot_pin_id(Ramet *ramet, const char *id) {
    Pin *pin;

    (void)pthread_mutex_lock(&ramet->mutex);
    pin = find_pin(ramet, id);
    if (!pin) {
        pin = calloc(1, sizeof(*pin));
        if (!pin)
            abort();
        (void)snprintf(pin->id, sizeof(pin->id), "%s", id);
        pin->next = ramet->pins;
        ramet->pins = pin;
    }
    pin->count++;
    (void)pthread_mutex_unlock(&ramet->mutex);
}

void snapshot_unpin(Ramet *ramet, const char *id) {
    Pin **link = &ramet->pins, *pin;

    (void)pthread_mutex_lock(&ramet->mutex);
    while (*link && !str_equal((*link)->id, id))
        link = &(*link)->next;
    pin = *link;
    if (pin && --pin->count == 0) {
        *link = pin->next;
        free(pin);
    }
    (void)pthread_mutex_unlock(&ramet->mutex);
}

static bool is_pinned(Ramet *ramet, const char *id) {
    bool pinned;

    (void)pthread_mutex_lock(&ramet->mutex);
    pinned = find_pin(ramet, id) != NULL;
    (void)pthread_mutex_unlock(&ramet->mutex);
    return pinned;
}

/* The pin comes first and the look second, so that a removal sees the pin or we its state. */
int snapshot_pin(Ramet *ramet, const char *id, SnapshotRow *row, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow found = {0};
    int r;

    snapshot_pin_id(ramet, id);
    r = snapshots_get(ramet->store, id, &found, error);
    if (r >= 0 && !str_equal(found.state, SNAPSHOT_READY))
        r = error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no snapshot %s any more", id);
    if (r < 0) {
        snapshot_unpin(ramet, id);
        return r;
    }
    *row = found;
    found = (SnapshotRow){0};
    return 0;
}

/* --- removing one ------------------------------------------------------------------------------
 */

static const char *label(const SnapshotRow *row) {
    return *row->name ? row->name : row->id;
}

/* Names of those that need it, for the message. */
static char *list_users(Ramet *ramet, const SnapshotRow *row) {
    StrBuf text = {0};
    SnapshotRow *rows = NULL;
    VmRow *vms = NULL;
    size_t count = 0, n_vms = 0;

    (void)vms_list(ramet->store, &vms, &n_vms, NULL);
    (void)snapshots_list(ramet->store, &rows, &count, NULL);
    for (size_t i = 0; i < n_vms; i++)
        if (str_equal(vms[i].snapshot, row->id) ||
            str_equal(row_text(&vms[i], "standby"), row->id) ||
            str_equal(row_text(&vms[i], "memory_owner"), row->id))
            strbuf_add_format(&text, "%sVM %s", text.size ? ", " : "", vms[i].name);
    for (size_t i = 0; i < count; i++)
        if (!str_equal(rows[i].id, row->id) &&
            (str_equal(rows[i].parent, row->id) || str_equal(rows[i].base, row->id)))
            strbuf_add_format(&text, "%ssnapshot %s", text.size ? ", " : "", label(&rows[i]));
    vm_rows_free(vms, n_vms);
    snapshot_rows_free(rows, count);
    return strbuf_take(&text);
}

static int check_unused(Ramet *ramet, const SnapshotRow *row, Error *error) {
    _cleanup_free_ char *users = NULL;
    SnapshotUsers found = {0};
    int r = snapshots_count_users(ramet->store, row->id, &found, error);

    if (r < 0)
        return r;
    r = pool_check_absent(ramet, row->id, "snapshot", label(row), error);
    if (r < 0)
        return r;
    if (is_pinned(ramet, row->id))
        return error_set(error, ERROR_CONFLICT, EBUSY, "snapshot %s is being forked", label(row));
    if (found.snapshots + found.vms + found.mapped == 0)
        return 0;
    users = list_users(ramet, row);
    error_set(error, ERROR_CONFLICT, EBUSY, "snapshot %s is needed by %s", label(row), users);
    error_set_hint(error, "remove those first, or all of it with --cascade");
    return -EBUSY;
}

static int mark_removing(Ramet *ramet, const SnapshotRow *row, Error *error) {
    SnapshotRow marked = *row;
    int r = store_begin(ramet->store, error);

    if (r < 0)
        return r;
    r = check_unused(ramet, row, error);
    if (r >= 0) {
        (void)snprintf(marked.state, sizeof(marked.state), SNAPSHOT_REMOVING);
        r = snapshots_update(ramet->store, &marked, error);
    }
    if (r < 0) {
        store_rollback(ramet->store);
        return r;
    }
    return store_commit(ramet->store, error);
}

int snapshot_delete(Ramet *ramet, const SnapshotRow *row, Error *error) {
    _cleanup_free_ char *path = snapshot_path(ramet, row->id, NULL);
    _cleanup_json_ json_t *detail = NULL;
    int r = mark_removing(ramet, row, error);

    if (r < 0)
        return r;
    hot_memory_drop(ramet, row->id);
    r = path_remove_tree(path);
    if (r < 0)
        return error_set_errno(error, -r, "cannot remove %s", path);
    r = snapshots_delete(ramet->store, row->id, error);
    if (r < 0)
        return r;
    detail = json_pack("{s:s, s:b}", "snapshot", row->id, "automatic", row->automatic);
    ramet_event(ramet, "snapshot.removed", NULL, *row->name ? row->name : NULL, detail);
    return 0;
}

/* --- collecting --------------------------------------------------------------------------------
 */

/* Returns how many went. */
static size_t collect_once(Ramet *ramet, json_t *names) {
    char ids[COLLECT_AT_ONCE][VM_ID_SIZE];
    size_t count = 0, gone = 0;

    if (snapshots_list_unused(ramet->store, ids, COLLECT_AT_ONCE, &count, NULL) < 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        _cleanup_snapshot_row_ SnapshotRow row = {0};
        _cleanup_error_ Error error = ERROR_INIT;

        if (is_pinned(ramet, ids[i]) || snapshots_get(ramet->store, ids[i], &row, NULL) < 0)
            continue;
        if (snapshot_delete(ramet, &row, &error) >= 0) {
            gone++;
            (void)json_array_append_new(names, json_string(label(&row)));
        } else if (error.kind != ERROR_CONFLICT) {
            log_warning("cannot remove snapshot %s: %s", ids[i], error_message(&error));
        }
    }
    return gone;
}

static void collect(Ramet *ramet, json_t *names, size_t *layers) {
    _cleanup_error_ Error error = ERROR_INIT;

    while (collect_once(ramet, names) > 0) /* a parent may be free now */
        ;
    if (layers_collect(ramet, layers, &error) < 0)
        log_warning("cannot remove unused layers: %s", error_message(&error));
}

void lineage_collect(Ramet *ramet) {
    _cleanup_json_ json_t *names = json_array();

    collect(ramet, names, NULL);
}

static uint64_t read_free_bytes(const Ramet *ramet) {
    struct statvfs info;

    return statvfs(ramet->home, &info) < 0 ? 0 : (uint64_t)info.f_bfree * info.f_frsize;
}

int ramet_prune(Ramet *ramet, Operation *operation, json_t **report, Error *error) {
    _cleanup_json_ json_t *names = json_array();
    uint64_t before = read_free_bytes(ramet), after;
    size_t layers = 0;

    (void)error;
    operation_enter(operation, "prune");
    collect(ramet, names, &layers);
    after = read_free_bytes(ramet);
    *report = json_pack("{s:O, s:I, s:I}", "snapshots", names, "layers", (json_int_t)layers,
                        "freed_bytes", (json_int_t)(after > before ? after - before : 0));
    return 0;
}

/* --- removing all that grows from one ----------------------------------------------------------
 */

typedef struct Cascade {
    Ramet *ramet;         /* borrowed */
    Operation *operation; /* borrowed */
    json_t *snapshots;    /* owned: what went */
    json_t *vms;
} Cascade;

static int remove_vms(Cascade *cascade, const char *id, Error *error) {
    size_t count = 0;
    VmRow *rows = NULL;
    int r = vms_list(cascade->ramet->store, &rows, &count, error);

    for (size_t i = 0; r >= 0 && i < count; i++) {
        bool grows = str_equal(rows[i].snapshot, id) ||
                     str_equal(row_text(&rows[i], "standby"), id) ||
                     str_equal(row_text(&rows[i], "memory_owner"), id);

        if (!grows)
            continue;
        r = vm_remove(cascade->ramet, cascade->operation, rows[i].id, true, error);
        if (r >= 0)
            (void)json_array_append_new(cascade->vms, json_string(rows[i].name));
    }
    vm_rows_free(rows, count);
    return r;
}

static int cascade_remove(Cascade *cascade, const char *id, unsigned depth, Error *error);

static int remove_children(Cascade *cascade, const char *id, unsigned depth, Error *error) {
    size_t count = 0;
    SnapshotRow *rows = NULL;
    int r = snapshots_list(cascade->ramet->store, &rows, &count, error);

    for (size_t i = 0; r >= 0 && i < count; i++)
        if (!str_equal(rows[i].id, id) &&
            (str_equal(rows[i].parent, id) || str_equal(rows[i].base, id)))
            r = cascade_remove(cascade, rows[i].id, depth + 1, error);
    snapshot_rows_free(rows, count);
    return r;
}

/* Children before parents, VMs before snapshots. */
static int cascade_remove(Cascade *cascade, const char *id, unsigned depth, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    int r;

    if (depth > 1000)
        return error_set(error, ERROR_CORRUPT, ELOOP, "snapshots grow from each other");
    r = pool_forget(cascade->ramet, cascade->operation, id, error);
    if (r >= 0)
        r = remove_vms(cascade, id, error);
    if (r >= 0)
        r = remove_children(cascade, id, depth, error);
    if (r < 0)
        return r;
    if (snapshots_get(cascade->ramet->store, id, &row, NULL) < 0)
        return 0; /* an automatic one went with its VM */
    r = snapshot_delete(cascade->ramet, &row, error);
    if (r >= 0)
        (void)json_array_append_new(cascade->snapshots, json_string(label(&row)));
    return r;
}

int snapshot_remove(Ramet *ramet, Operation *operation, const char *reference, bool cascade,
                    json_t **removed, Error *error) {
    _cleanup_json_ json_t *snapshots = json_array(), *vms = json_array();
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    Cascade all = {ramet, operation, snapshots, vms};
    int r = snapshots_find(ramet->store, reference, &row, error);

    if (r < 0)
        return r;
    operation_enter(operation, "remove");
    if (cascade) {
        r = cascade_remove(&all, row.id, 0, error);
    } else {
        r = snapshot_delete(ramet, &row, error);
        if (r >= 0)
            (void)json_array_append_new(snapshots, json_string(label(&row)));
    }
    if (r < 0)
        return error_add_context(error, "cannot remove snapshot %s", label(&row));
    lineage_collect(ramet);
    if (removed)
        *removed = json_pack("{s:O, s:O}", "snapshots", snapshots, "vms", vms);
    return 0;
}

/* --- at the daemon's start ---------------------------------------------------------------------
 */

static size_t finish_half_done(Ramet *ramet) {
    size_t count = 0, failures = 0;
    SnapshotRow *rows = NULL;

    if (snapshots_list(ramet->store, &rows, &count, NULL) < 0)
        return 1;
    for (size_t i = 0; i < count; i++) {
        if (str_equal(rows[i].state, SNAPSHOT_READY))
            continue;
        log_info("reconcile: removing snapshot %s, which is half %s", rows[i].id,
                 str_equal(rows[i].state, SNAPSHOT_CREATING) ? "made" : "removed");
        snapshot_undo(ramet, rows[i].id);
    }
    snapshot_rows_free(rows, count);
    return failures;
}

static bool has_row(Ramet *ramet, const char *folder, const char *name) {
    char id[VM_ID_SIZE];

    (void)snprintf(id, sizeof(id), "%.32s", name);
    if (str_equal(folder, "layers")) {
        _cleanup_(layer_row_free) LayerRow row = {0};

        return layers_get(ramet->store, id, &row, NULL) != -ENOENT;
    }
    {
        _cleanup_snapshot_row_ SnapshotRow row = {0};

        return snapshots_get(ramet->store, id, &row, NULL) != -ENOENT;
    }
}

static size_t remove_strays(Ramet *ramet, const char *folder) {
    int fd = openat(ramet->home_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    size_t failures = 0;

    if (!dir) {
        (void)fd_close(fd);
        return 1;
    }
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.' || has_row(ramet, folder, entry->d_name))
            continue;
        log_info("reconcile: removing %s/%s, which belongs to nothing", folder, entry->d_name);
        failures += path_remove_tree_at(dirfd(dir), entry->d_name) < 0;
    }
    (void)closedir(dir);
    return failures;
}

size_t lineage_reconcile(Ramet *ramet) {
    size_t failures = finish_half_done(ramet);

    failures += remove_strays(ramet, "snapshots");
    failures += remove_strays(ramet, "layers");
    hot_memory_reconcile(ramet);
    lineage_collect(ramet);
    return failures;
}
