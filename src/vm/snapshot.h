/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VM_SNAPSHOT_H
#define RAMET_VM_SNAPSHOT_H

/* What can be done with snapshots, and with VMs that grow from them. docs/snapshots.md tells how.
 *
 * A snapshot as JSON: id name key vm image_digest parent children created_at
 * memory{kind path base inode bytes allocated_bytes sha256 protection} disk{path sha256 …}
 * state_bytes pause_us qemu machine cpu accel automatic purpose vms. `memory` is null for the
 * snapshot of a VM that did not run; `memory.sha256` is null while it is not known, which only
 * snapshot_inspect waits for. The caller owns it. */

#include "base/json.h"
#include "vm/operation.h"
#include "vm/ramet.h"

/* Freezes a VM, running, paused, stopped or in standby. One that ran runs on. name may be NULL.
 * compress: NULL or "zstd". ERROR_CONFLICT: the name is taken, or the VM is in no fit state. */
int snapshot_create(Ramet *ramet, Operation *operation, const char *vm, const char *name,
                    const char *compress, json_t **snapshot, Error *error);

/* all: also those that standby and the boot cache keep for themselves. */
int snapshot_list(Ramet *ramet, bool all, json_t **list, Error *error);

/* Waits for the SHA-256 of its memory where that is not known yet. */
int snapshot_inspect(Ramet *ramet, Operation *operation, const char *reference, json_t **snapshot,
                     Error *error);

/* [{"kind":"snapshot","id","name","own_bytes","shared_bytes","children":[…]}, {"kind":"vm",…}]:
 * snapshots and what grows from them; VMs that grew from none stand at the top. */
int snapshot_tree(Ramet *ramet, json_t **tree, Error *error);

/* Reads everything that it stands on: {"id","name","ok","checks":[{"what","path","ok","message"}]}.
 * What is wrong with a file is in the report; an Error is only for what could not be looked at. */
int snapshot_verify(Ramet *ramet, Operation *operation, const char *reference, json_t **report,
                    Error *error);

/* ERROR_CONFLICT while something grows from it, unless cascade, which removes all of that too,
 * running VMs as well: {"snapshots":[names or ids],"vms":[names]}. */
int snapshot_remove(Ramet *ramet, Operation *operation, const char *reference, bool cascade,
                    json_t **removed, Error *error);

/* Removes what nothing needs: automatic snapshots, layers, cold files of hot memory.
 * {"snapshots":[…],"layers":n,"freed_bytes":n} */
int ramet_prune(Ramet *ramet, Operation *operation, json_t **report, Error *error);

/* Forks clones of it and shows that they are pairwise distinct, were restored, keep the host's
 * time, and cannot change what they grow from: {"id","name","ok","clones":[{"name","hostname",…}],
 * "checks":[{"what","ok","message"}],"frozen":[{"what","path","inode","sha256"}]}. What is wrong is
 * in the report. Nothing is left of the clones, also when the client leaves or the daemon dies. */
#define PROVE_CLONES_MIN 2
#define PROVE_CLONES_MAX 64
#define PROVE_CLONES_DEFAULT 8
int snapshot_prove(Ramet *ramet, Operation *operation, const char *reference, unsigned count,
                   json_t **report, Error *error);

#define FORK_COUNT_MAX 1024

typedef struct ForkOptions {
    const char *source;  /* borrowed: a snapshot or a VM */
    const char *name;    /* borrowed: of the clone, or NAME-1 … NAME-n; NULL: made up */
    unsigned count;      /* at least 1 */
    bool keep_going;     /* keep those that got ready when others did not */
    bool owned;          /* they end and go with the stream that is attached to each of them next
                            (vm_hand_stream, "attach", owner) */
    uint64_t disk_bytes; /* 0: as large as the source's */
} ForkOptions;

/* {"snapshot":ID,"vms":[VM…],"errors":[{"name","error"}]}. All clones are ready, or none is there
 * (unless keep_going and at least one is). */
int vm_fork(Ramet *ramet, Operation *operation, const ForkOptions *options, json_t **answer,
            Error *error);

/* Saves a running or paused VM and ends its process. ERROR_CONFLICT in any other state. */
int vm_standby(Ramet *ramet, Operation *operation, const char *reference, json_t **vm,
               Error *error);

/* Lets a VM in standby go on where it was. ERROR_CONFLICT in any other state. */
int vm_resume(Ramet *ramet, Operation *operation, const char *reference, json_t **vm, Error *error);

#endif
