/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VERBS_VERBS_H
#define RAMET_VERBS_VERBS_H

/* What can be done with snapshots, and with VMs that grow from them. docs/snapshots.md tells how.
 *
 * A snapshot as JSON: id name key vm image_digest parent children created_at
 * memory{kind path base inode bytes allocated_bytes sha256 protection} disk{path sha256 …}
 * state_bytes pause_us qemu machine cpu accel automatic purpose vms. `memory` is null for the
 * snapshot of a VM that did not run; `memory.sha256` is null while it is not known, which only
 * snapshot_inspect waits for. The caller owns it. */

#include "base/error.h"
#include "base/json.h"
#include "catalog/images.h"
#include "home/home.h"
#include "home/operation.h"
#include "home/spec.h"
#include "machine/clone.h"

/* Starts it and waits until it is ready. On failure it is `failed`, and the error carries the last
 * lines of its console. ERROR_CONFLICT when it runs. */
int vm_start(Home *home, Operation *operation, const char *reference, bool cold, json_t **vm,
             Error *error);

/* Vm_create and vm_start; a failure or a client that goes away leaves nothing behind. attached: the
 * VM belongs to the client whose stream is handed over next (vm_hand_stream with owner); a --rm VM
 * ends with it. */
int vm_run(Home *home, Operation *operation, const VmSpec *spec, bool attached, json_t **vm,
           Error *error);

/* Vm_stop where it runs, and vm_start. */
int vm_restart(Home *home, Operation *operation, const char *reference, bool cold,
               uint64_t timeout_usec, json_t **vm, Error *error);

/* ERROR_CONFLICT when it runs, unless force, which kills it first. Goes on after an error; all of
 * them are in the message. *removed (may be NULL): {"id","name"}. */
int vm_remove(Home *home, Operation *operation, const char *reference, bool force, json_t **removed,
              Error *error);

/* Until it is in one of the states ("stopped" is also met by "failed"), or gone: *vm is then
 * {"id","name","state":"stopped","removed":true}.
 * Ends early only with the client. wanted NULL: stopped. program: until its program has ended, or
 * it stopped, instead; ERROR_CONFLICT when it has none. */
int vm_wait(Home *home, Operation *operation, const char *reference, const char *wanted,
            bool program, json_t **vm, Error *error);

/* All that is known of it. */
int vm_inspect(Home *home, const char *reference, json_t **vm, Error *error);

/* [VM]: those that run (starting, running, paused, stopping, unknown), or all; of them what the
 * filters ("KEY=VALUE", verbs/filter.h; NULL: none) leave. A filter for states means all.
 * ERROR_USAGE for a filter that there is not. */
int vm_list(Home *home, bool all, const json_t *filters, json_t **list, Error *error);

/* {"total_us","boot","stages":[…]} of its last start. */
int vm_stages(Home *home, const char *reference, json_t **stages, Error *error);

/* Freezes a VM, running, paused, stopped or in standby. One that ran runs on. name may be NULL.
 * compress: NULL or "zstd". ERROR_CONFLICT: the name is taken, or the VM is in no fit state. */
int snapshot_create(Home *home, Operation *operation, const char *vm, const char *name,
                    const char *compress, bool clone_volumes, json_t **snapshot, Error *error);

/* Reads everything that it stands on: {"id","name","ok","checks":[{"what","path","ok","message"}]}.
 * What is wrong with a file is in the report; an Error is only for what could not be looked at. */
int snapshot_verify(Home *home, Operation *operation, const char *reference, json_t **report,
                    Error *error);

/* ERROR_CONFLICT while something grows from it, unless cascade, which removes all of that too,
 * running VMs as well: {"snapshots":[names or ids],"vms":[names]}. */
int snapshot_remove(Home *home, Operation *operation, const char *reference, bool cascade,
                    json_t **removed, Error *error);

/* Takes a name away from an image (image_name_remove), and with the last one its boot cache.
 * ERROR_CONFLICT also when there is a pool of it. */
int image_op_remove(Home *home, Operation *operation, const char *reference, Error *error);

/* Those of catalog/images.h, and the boot cache of an image that lost its last name by it goes. */
int image_op_build(Home *home, Operation *operation, const ImageBuildOptions *options,
                   json_t **image, Error *error);
int image_op_import(Home *home, Operation *operation, const ImageImportOptions *options,
                    json_t **image, Error *error);
int image_op_pull(Home *home, Operation *operation, const ImagePullOptions *options, json_t **image,
                  Error *error);
int image_op_tag(Home *home, Operation *operation, const char *reference, const char *name,
                 bool replace, json_t **image, Error *error);

/* Makes an image of a VM's disk, alone and flat: frozen for a moment where it runs, as a snapshot
 * is. ERROR_CONFLICT: the name stands for another image and is not to be replaced. */
int vm_commit(Home *home, Operation *operation, const char *vm, const char *name, bool replace,
              json_t **image, Error *error);

#define FORK_COUNT_MAX 1024

typedef struct ForkOptions {
    const char *source;      /* borrowed: a snapshot or a VM */
    const char *name;        /* borrowed: of the clone, or NAME-1 … NAME-n; NULL: made up */
    unsigned count;          /* at least 1 */
    bool clone_volumes;      /* of a VM: copies of volumes that it writes to */
    const char *config_disk; /* borrowed: what all of them have in place of the source's */
    bool keep_going;         /* keep those that got ready when others did not */
    bool remove;             /* each goes once it has stopped */
    bool owned; /* they end and go with the stream that is attached to each of them next
                   (vm_hand_stream, "attach", owner) */
    CloneShape shape;
} ForkOptions;

/* {"snapshot":ID,"vms":[VM…],"errors":[{"name","error"}]}. All clones are ready, or none is there
 * (unless keep_going and at least one is). */
int vm_fork(Home *home, Operation *operation, const ForkOptions *options, json_t **answer,
            Error *error);

#endif
