/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_SNAPSHOT_DATA_H
#define RAMET_STORE_SNAPSHOT_DATA_H

/* What a snapshot is remembered by, beside what has a column of its own. */

#include "base/digest.h"
#include "base/json.h"
#include "base/tree_digest.h"
#include "store/frozen.h"
#include "store/guest_macs.h"
#include "store/vm_spec.h"

/* Memory gets its tree digest some time after it was saved, and the SHA-256 only when somebody asks
 * for it (frozen/memory_digest.c), unless an earlier version saved it. */
typedef struct SnapshotFile {
    char name[32];                /* in the snapshot's folder; empty: there is none */
    char sha256[SHA256_HEX_SIZE]; /* of the content */
    char tree[TREE_DIGEST_SIZE];
    FileStamp stamp;
    /* of a compressed one */
    char compressed[8];                  /* "zstd" */
    char stored_sha256[SHA256_HEX_SIZE]; /* of the file as it lies there */
    uint64_t bytes, data_bytes;          /* the content's size, and that without its holes */
} SnapshotFile;

typedef struct SnapshotFiles {
    SnapshotFile memory, state;
} SnapshotFiles;

typedef struct SnapshotData {
    VmSpec spec;   /* owned: of its VM */
    VmDisks disks; /* of its mounts: the layers that they stand on, and stamps of volumes */
    /* of its cards, in its memory */
    char guest_macs[GUEST_MACS_SIZE];
    char kernel_key[80];
    char initramfs_key[80];
    char ssh_host_key[SSH_PUBLIC_KEY_SIZE]; /* its VM's, for clones that keep it */
    char *base_path;                        /* owned: of its image's base */
    uint64_t memory_bytes;
    SnapshotFacts facts; /* owned */
    SnapshotFiles files;
    bool unwritten;  /* its memory is hot memory only, and its file empty: frozen/behind.h */
    char kind[8];    /* of its memory: "full" or "diff"; empty without memory */
    bool scheduled;  /* made by its VM's schedule */
    json_t *held;    /* owned: true, false; NULL: it has no memory, or does not say */
    char marker[33]; /* what its agent is greeted with, in hexadecimal digits */
    char ram_nonce[33];
    uint64_t counter;
    uint64_t mailbox; /* the physical address of the agent's; 0: none */
    char
        capture[16]; /* what told the pages that were written while it was copied; proto/keeper.h */
    char adoption[24]; /* "offered": its VM was to map its memory from then on; else why not */
    uint64_t pause_us, dirty_bytes, state_bytes;
    uint64_t verified_at_usec; /* when its memory had its digest; 0: not yet, or not recorded */

    json_t *unknown; /* owned: members of a later version; NULL: none */
} SnapshotData;

/* As an object, the caller's. */
json_t *snapshot_data_to_json(const SnapshotData *data);

/* Into a struct of zeroes. json may be NULL. */
void snapshot_data_from_json(const json_t *json, SnapshotData *data);

/* Leaves zeroes. */
void snapshot_data_free(SnapshotData *data);

#endif
