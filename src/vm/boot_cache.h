/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VM_BOOT_CACHE_H
#define RAMET_VM_BOOT_CACHE_H

/* Snapshots of VMs just booted, from which the first start of a VM is forked. Inside src/vm only.
 */

#include "vm/snapshot_internal.h"

/* The snapshot from which the first start of this VM (planned, or made and never started) may be
 * forked; it is prepared when there is none, by one caller while others wait. 1: *snapshot, pinned.
 * 0: boot cold; when the reason is a failure, it was told, and *failure (the caller's) has it as
 * JSON. Negative: the start cannot go on (cancelled, no room, the image does not boot). */
int boot_cache_open(Ramet *ramet, Operation *operation, VmRow *row, SnapshotRow *snapshot,
                    json_t **failure, Error *error);

/* A restore from it failed: it is not found any more, and goes once nothing grows from it. */
void boot_cache_discard(Ramet *ramet, const SnapshotRow *snapshot);

/* Removes all entries of the image from which nothing grows. */
void boot_cache_prune(Ramet *ramet, const char *image_digest);

/* At the daemon's start: entries of images that are gone. */
void boot_cache_reconcile(Ramet *ramet);

/* Is a failure of a restore one that a cold boot may mend? Others are the request's own. */
bool boot_cache_may_fall_back(const Error *error);

/* Tells of a failure, as an event of the VM and to the client; returns it as JSON, the caller's. */
json_t *boot_cache_tell(Ramet *ramet, Operation *operation, const VmRow *row, const char *what,
                        const Error *failure);

/* run.c: the first start of a VM that was made and never started. */
int vm_start_first(Ramet *ramet, Operation *operation, OpLock *lock, VmRow *row, Error *error);

/* grow_disk.c: lets a restored guest see and use a disk larger than the snapshot's. */
int vm_grow_disk(Ramet *ramet, Operation *operation, VmRow *row, const SnapshotRow *snapshot,
                 Error *error);

/* guest_run.c: runs a command in a VM whose keeper says that it runs, and waits for its end; what
 * it prints is dropped. */
int guest_run(Ramet *ramet, const VmRow *row, const char *const *argv, uint64_t timeout_usec,
              int cancel_fd, int *exit_status, Error *error);

#endif
