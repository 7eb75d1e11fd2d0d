/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_FROZEN_H
#define RAMET_STORE_FROZEN_H

/* What the rows of VMs, snapshots and layers have in common. */

#include "base/json.h"

/* A frozen file is known again by it (frozen/stamp.h). */
typedef struct FileStamp {
    uint64_t size, mtime_ns, inode; /* inode 0: no stamp */
} FileStamp;

/* All that a restore depends on (frozen/snapshot_key.h). The strings are owned; NULL: earlier
 * versions did not say. */
typedef struct SnapshotFacts {
    uint64_t format; /* 0: nothing is known */
    char *image_digest, *kernel_key, *initramfs_key;
    char *qemu_sha256, *qemu_version;
    char *accel, *machine, *machine_options, *cpu, *host_cpu;
    uint64_t memory_bytes, cpus;
    char *devices, *network;
    char *disks;    /* beside the root disk; NULL: none */
    char *program;  /* digest of the program that runs in it; NULL: none */
    char *firmware; /* digest of UEFI's code; NULL: it has none */
} SnapshotFacts;

/* As an object, the caller's, which is also what is hashed into a snapshot's key. */
json_t *snapshot_facts_to_json(const SnapshotFacts *facts);

/* Into a struct of zeroes. */
void snapshot_facts_copy(const SnapshotFacts *facts, SnapshotFacts *copy);

/* Leaves zeroes. */
void snapshot_facts_free(SnapshotFacts *facts);

#endif
