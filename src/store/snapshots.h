/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_SNAPSHOTS_H
#define RAMET_STORE_SNAPSHOTS_H

/* The table of snapshots: what was frozen, of whom, and what it stands on. Who grows from a
 * snapshot is asked for (snapshots_count_users) and never counted in a column, so that no count can
 * be wrong after a crash. */

#include "store/snapshot_data.h"
#include "store/vms.h"

typedef enum SnapshotState {
    SNAPSHOT_CREATING,
    SNAPSHOT_READY, /* only such a one is seen */
    SNAPSHOT_REMOVING,
} SnapshotState;

/* "ready". Static. */
const char *snapshot_state_name(SnapshotState state);

typedef struct SnapshotRow {
    char id[VM_ID_SIZE];
    char name[64]; /* unique; empty: none */
    SnapshotState state;
    bool automatic;     /* goes by itself once nothing grows from it */
    char purpose[16];   /* of an automatic one: "fork", "standby", "cache", "lab", "step"; else
                           "" */
    char key[65];       /* SHA-256 of all that a restore depends on; empty without memory */
    char vm[NAME_SIZE]; /* name of the VM that it was taken of */
    char vm_id[VM_ID_SIZE];
    char image[64];
    char image_digest[IMAGE_ROW_DIGEST_SIZE];
    char parent[VM_ID_SIZE]; /* the snapshot that the VM had been forked from; empty: none */
    char base[VM_ID_SIZE];   /* the snapshot whose memory base this one's memory is or stands on;
                                its own id when it is full; empty without memory */
    char layer[VM_ID_SIZE];  /* top of its disk's chain; empty: the image's base itself */
    uint64_t created_at_usec;
    SnapshotData data; /* owned: all else */
} SnapshotRow;

void snapshot_row_free(SnapshotRow *row);
#define _cleanup_snapshot_row_ _cleanup_(snapshot_row_free)
void snapshot_rows_free(SnapshotRow *rows, size_t count);

/* ERROR_CONFLICT when the name is taken. */
int snapshots_insert(Store *store, const SnapshotRow *row, Error *error);

/* Writes state, automatic, purpose, key, parent, base, layer and data. ERROR_NOT_FOUND when the row
 * is gone. */
int snapshots_update(Store *store, const SnapshotRow *row, Error *error);

/* Records that its memory lies in its file now, and nothing else of the row. ERROR_NOT_FOUND: it is
 * gone. */
int snapshots_set_written(Store *store, const char *id, const FileStamp *memory, Error *error);

/* Records the digests of its memory ("": not known), and nothing else of the row. ERROR_NOT_FOUND:
 * it is gone. */
int snapshots_set_digests(Store *store, const char *id, const SnapshotFile *memory,
                          uint64_t verified_at_usec, Error *error);

/* The VM of that id has another name now. */
int snapshots_rename_vm(Store *store, const char *vm_id, const char *name, Error *error);

/* By id, in whatever state. */
int snapshots_get(Store *store, const char *id, SnapshotRow *row, Error *error);

/* A ready one, by name, id, or the start of an id (4 digits or more) that fits only one.
 * ERROR_NOT_FOUND, or ERROR_CONFLICT when it fits several. */
int snapshots_find(Store *store, const char *reference, SnapshotRow *row, Error *error);

/* The newest ready one with this key and purpose: 1 and the row, or 0. */
int snapshots_find_key(Store *store, const char *key, const char *purpose, SnapshotRow *row,
                       Error *error);

/* All of them in whatever state, oldest first. */
int snapshots_list(Store *store, SnapshotRow **rows, size_t *count, Error *error);

/* Absent is success. */
int snapshots_delete(Store *store, const char *id, Error *error);

/* Who needs it. */
typedef struct SnapshotUsers {
    uint64_t snapshots; /* its children, and those whose memory stands on its base */
    uint64_t vms;       /* forked from it */
    uint64_t mapped;    /* whose running memory or standby it is */
} SnapshotUsers;
int snapshots_count_users(Store *store, const char *id, SnapshotUsers *users, Error *error);

/* Ids (VM_ID_SIZE apart) of ready automatic snapshots that nobody needs, but for those that wait to
 * be used ("cache", "step"); at most max. */
int snapshots_list_unused(Store *store, char (*ids)[VM_ID_SIZE], size_t max, size_t *count,
                          Error *error);

#endif
