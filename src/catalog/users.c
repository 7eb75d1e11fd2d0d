/* SPDX-License-Identifier: Apache-2.0 */

#include "catalog/users.h"

#include <errno.h>

#include "base/json.h"
#include "base/str.h"
#include "frozen/snapshot_files.h"
#include "home/home.h"
#include "home/inside.h"
#include "store/pools.h"
#include "store/snapshots.h"
#include "store/vms.h"

#define USERS_SHOWN 8

/* A list of users as text; those beyond USERS_SHOWN are only counted. */
typedef struct UserList {
    StrBuf text;
    size_t count;
    size_t warm; /* clones of pools, which no list shows */
} UserList;

typedef struct Question {
    const SnapshotRow *snapshot; /* who needs it? NULL: who stands on the digest? */
    const char *digest;
} Question;

void snapshot_label(const SnapshotRow *row, char label[SNAPSHOT_LABEL_SIZE]) {
    (void)snprintf(label, SNAPSHOT_LABEL_SIZE, *row->name ? "%s" : "%.12s",
                   *row->name ? row->name : row->id);
}

void snapshot_append_label(json_t *list, const SnapshotRow *row) {
    char label[SNAPSHOT_LABEL_SIZE];
    snapshot_label(row, label);
    (void)json_array_append_new(list, json_string(label));
}

bool vm_needs_snapshot(const VmRow *vm, const char *snapshot) {
    return str_equal(vm->snapshot, snapshot) || str_equal(vm->runtime.standby, snapshot) ||
           (str_equal(vm->runtime.memory_owner, snapshot) && !vm->runtime.memory_adopted);
}

static void add_user(UserList *list, const char *kind, const char *name) {
    if (list->count++ < USERS_SHOWN)
        strbuf_add_format(&list->text, "%s%s %s", list->text.size ? ", " : "", kind, name);
}

static void add_vm(UserList *list, const VmRow *vm) {
    if (str_equal(vm->runtime.hidden, "pool"))
        list->warm++;
    else
        add_user(list, "VM", vm->name);
}

static void add_snapshot(UserList *list, const SnapshotRow *row) {
    char label[SNAPSHOT_LABEL_SIZE];
    snapshot_label(row, label);
    add_user(list,
             str_equal(row->purpose, PURPOSE_CACHE) ? "boot cache entry"
             : row->automatic                       ? "automatic snapshot"
                                                    : "snapshot",
             label);
}

static bool vm_is_asked_for(const VmRow *vm, const Question *question) {
    return question->snapshot ? vm_needs_snapshot(vm, question->snapshot->id)
                              : str_equal(vm->image_digest, question->digest);
}

static bool snapshot_is_asked_for(const SnapshotRow *row, const Question *question) {
    const SnapshotRow *snapshot = question->snapshot;
    if (!snapshot)
        return str_equal(row->image_digest, question->digest);
    return !str_equal(row->id, snapshot->id) &&
           (str_equal(row->parent, snapshot->id) || str_equal(row->base, snapshot->id));
}

static char *finish(UserList *list) {
    if (list->warm > 0)
        strbuf_add_format(&list->text, "%s%zu warm clone%s of a pool", list->text.size ? ", " : "",
                          list->warm, list->warm == 1 ? "" : "s");
    if (list->count > USERS_SHOWN)
        strbuf_add_format(&list->text, " and %zu more", list->count - USERS_SHOWN);
    return list->text.size ? strbuf_steal(&list->text) : str_copy("");
}

static char *list_users(Home *home, const Question *question) {
    UserList list = {0};
    SnapshotRow *snapshots = NULL;
    VmRow *vms = NULL;
    size_t n_snapshots = 0, n_vms = 0;
    (void)vms_list(home->store, &vms, &n_vms, NULL);
    (void)snapshots_list(home->store, &snapshots, &n_snapshots, NULL);
    for (size_t i = 0; i < n_vms; i++)
        if (vm_is_asked_for(&vms[i], question))
            add_vm(&list, &vms[i]);
    for (size_t i = 0; i < n_snapshots; i++)
        if (snapshot_is_asked_for(&snapshots[i], question))
            add_snapshot(&list, &snapshots[i]);
    vm_rows_free(vms, n_vms);
    snapshot_rows_free(snapshots, n_snapshots);
    return finish(&list);
}

char *users_of_snapshot(Home *home, const SnapshotRow *row) {
    return list_users(home, &(Question){.snapshot = row});
}

char *users_of_image(Home *home, const char *digest) {
    return list_users(home, &(Question){.digest = digest});
}

int users_check_pool(Home *home, const char *source, const char *what, const char *name,
                     Error *error) {
    PoolRow row;
    if (pools_get(home->store, source, &row, NULL) < 0)
        return 0;
    error_set(error, ERROR_CONFLICT, EBUSY, "%s %s has a pool", what, name);
    error_set_hint(error, "end it first: ramet pool set %s 0", name);
    return -EBUSY;
}
