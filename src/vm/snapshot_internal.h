/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VM_SNAPSHOT_INTERNAL_H
#define RAMET_VM_SNAPSHOT_INTERNAL_H

/* What the files about snapshots share, and what the boot cache and pools build on. */

#include "base/tree_digest.h"
#include "store/layers.h"
#include "store/snapshots.h"
#include "vm/internal.h"
#include "vm/snapshot.h"

#define SNAPSHOT_FORMAT 2 /* of the files and of what a restore expects */

#define PURPOSE_FORK "fork"
#define PURPOSE_STANDBY "standby"
#define PURPOSE_CACHE "cache"

#define SNAPSHOT_CREATING "creating"
#define SNAPSHOT_READY "ready"
#define SNAPSHOT_REMOVING "removing"

/* --- frozen files (stamp.c) ---------------------------------------------------------------------
 *
 * A frozen file is remembered by its digest and by a stamp: size, time of its last change, inode.
 * The stamp is compared at each use, which costs a fstat; the digest where the stamp differs, at
 * the first use of a memory base, and by `snapshot verify`.
 *
 * The digest is the SHA-256 of the content, or of a memory base, most of which is holes, the tree
 * digest (base/tree_digest.h). Which one it is can be seen from the text. */

#define FROZEN_DIGEST_SIZE TREE_DIGEST_SIZE /* the longer of both */

/* Which of both it is, by its text. NULL: no. */
bool frozen_digest_is_tree(const char *digest);

/* The digest of an open file, of the kind that was recorded, to be compared with it. */
int frozen_digest(int fd, const char *recorded, char found[FROZEN_DIGEST_SIZE], Error *error);

/* The stamp of an open file; the caller owns it. */
int stamp_make(int fd, json_t **stamp, Error *error);

/* Is the open file the one that was frozen? ERROR_CORRUPT with the reason. digest "" cannot decide
 * a difference, which then is one. path is for messages. */
int stamp_check(int fd, const json_t *stamp, const char *digest, const char *path, Error *error);

/* --- layers of disks (layers.c) ----------------------------------------------------------------
 */

/* "HOME/layers/ID.qcow2"; the caller owns it. */
char *layer_path(const Ramet *ramet, const char *id);

/* The active overlay's name in the VM's folder. Borrowed from the row. */
const char *vm_disk_file(const VmRow *row);

/* The files below an overlay over `layer` ("": none), top first, base last; opened for reading and
 * checked against their stamps. */
typedef struct LayerChain {
    size_t count;
    struct {
        int fd; /* owned */
        const char *format;
    } files[64];
} LayerChain;
void layer_chain_close(LayerChain *chain);
#define _cleanup_layer_chain_ _cleanup_(layer_chain_close)
int layer_chain_open(Ramet *ramet, const char *layer, const char *base_path, LayerChain *chain,
                     Error *error);

/* Makes an overlay over a layer ("": over the base) for the VM. durable: fsync. */
int layer_make_overlay(Ramet *ramet, const VmRow *row, int dir_fd, const char *name,
                       const char *layer, const char *base_path, uint64_t bytes, bool durable,
                       Error *error);

/* Freezing a VM's overlay, in three steps. begin: the overlay gets a second name as a layer, and
 * the VM a new, empty overlay over that; the VM's row knows of both (`freezing`), so that a crash
 * can be settled. commit: the new overlay is the VM's; the layer is made read-only. settle: after a
 * failure or a crash, finds out whether the VM writes to the new overlay already (switched), and
 * commits or undoes. All for callers that hold the VM's lock. */
int layer_freeze_begin(Ramet *ramet, VmRow *row, Error *error);
int layer_freeze_commit(Ramet *ramet, VmRow *row, Error *error);
int layer_freeze_settle(Ramet *ramet, VmRow *row, bool switched, Error *error);

/* The new overlay's name while freezing, else "". Borrowed from the row. */
const char *layer_freezing_file(const VmRow *row);

/* Has the new overlay, of a VM that does not run, any content? */
bool layer_freezing_has_content(Ramet *ramet, const VmRow *row);

/* Writes the snapshot's chain as one layer over the base when it is deeper than LAYER_DEPTH_MAX,
 * and lets the snapshot (whose row is written) stand on that. The VMs over it may run on. */
#define LAYER_DEPTH_MAX 8
int layer_flatten(Ramet *ramet, Operation *operation, SnapshotRow *snapshot, Error *error);

/* Lets a VM that does not run stand on the flattened layer where there is one. */
int layer_take_flat(Ramet *ramet, VmRow *row, Error *error);

/* Removes layers on which nothing stands. */
int layers_collect(Ramet *ramet, size_t *count, Error *error);

/* --- hot memory (hot_memory.c) -----------------------------------------------------------------
 */

/* The memory base that a restore from this snapshot maps: its own, or the one that its diff stands
 * on. *fd is the caller's; *name (owned) is what inspect shows. */
int hot_memory_open(Ramet *ramet, const QemuFeatures *features, const SnapshotRow *snapshot,
                    int *fd, char **name, Error *error);

/* Filling it while a base is made, in the pass that hashes it. begin: a memfd to copy the base's
 * pages into with hot_memory_copy (a TreeDigestVisitor; data: the memfd), the caller's; -1 when
 * that is not wanted. keep: seals it and takes it, whether it is kept or not; the snapshot need not
 * be ready yet. certain: a fork follows at once. */
int hot_memory_begin(Ramet *ramet, const char *id, int base_fd, bool certain);
int hot_memory_copy(void *data, uint64_t offset, const uint8_t *bytes, size_t size);
void hot_memory_keep(Ramet *ramet, const char *id, int memfd, bool certain);

/* The inode of the sealed memfd of a base, 0 when it is not hot. */
uint64_t hot_memory_inode(Ramet *ramet, const char *base_id);
char *hot_memory_find_problem(Ramet *ramet, const char *base_id);
void hot_memory_drop(Ramet *ramet, const char *base_id);
void hot_memory_close(Ramet *ramet);

/* At the daemon's start, before any use: takes back what the memory holder holds. */
void hot_memory_reconcile(Ramet *ramet);

/* hot_holder.c, for hot_memory.c, with hot_mutex held. drop: after it left the list. */
void hot_holder_put(Ramet *ramet, HotMemory *hot);
void hot_holder_touch(Ramet *ramet, HotMemory *hot); /* it was used */
void hot_holder_drop(Ramet *ramet, const char *id);
void hot_holder_take_back(Ramet *ramet);

/* --- files (snapshot_files.c) ------------------------------------------------------------------
 */

/* "HOME/snapshots/ID[/NAME]"; the caller owns it. */
char *snapshot_path(const Ramet *ramet, const char *id, const char *name);

/* Opens one of a snapshot's files ("memory", "state") and checks its stamp. *path (may be NULL) is
 * the caller's. */
int snapshot_open_file(Ramet *ramet, const SnapshotRow *snapshot, const char *which, int *fd,
                       char **path, Error *error);

/* Opens its memory as a restore reads it: the file, or a sealed memfd with what a compressed one
 * holds, checked against its digest. The snapshot must be pinned or otherwise kept. */
int snapshot_open_memory(Ramet *ramet, const SnapshotRow *snapshot, int *fd, Error *error);

/* A file's entry in `files` has name, stamp and sha256. A memory base has "tree" (its tree digest)
 * and gets sha256 only when somebody asks for it (memory_digest.c); one that was saved by an
 * earlier version has no "tree". A compressed file has beside these: "compressed" ("zstd"),
 * "stored_sha256" (of the file as it lies there, while sha256 is of the content), "bytes" (the
 * content's size) and "data_bytes" (without its holes).
 *
 * pack: compresses `name` in a folder into `name`.zst and removes it. *entry has all but the stamp
 * of the new file; the caller owns it. On failure the folder is as before. */
int snapshot_pack_file(int dir_fd, const char *name, json_t **entry, Error *error);
bool snapshot_file_is_packed(const json_t *file);

/* The digest of the file as it lies there (see frozen_digest), "" when unknown. Borrowed from it.
 */
const char *snapshot_file_digest(const json_t *file);

/* The same of the memory that it holds, which differs when it is compressed. */
const char *snapshot_content_digest(const json_t *file);

/* memory_digest.c: the SHA-256 of its memory, where that is not known yet: computed (which takes a
 * second for 512 MiB), stored, and put into the row. Who comes meanwhile waits. ERROR_CORRUPT: the
 * memory is not what was saved. */
int snapshot_await_sha256(Ramet *ramet, int cancel_fd, SnapshotRow *row, Error *error);

/* Decompresses an opened file into `to` (-1: only checks) and compares size and digest. */
int snapshot_unpack_file(int fd, const json_t *file, int to, Error *error);

/* Members of data. */
const char *snapshot_text(const SnapshotRow *row, const char *key); /* "" when absent */
uint64_t snapshot_u64(const SnapshotRow *row, const char *key);
const json_t *snapshot_file(const SnapshotRow *row, const char *which);
bool snapshot_has_memory(const SnapshotRow *row);
bool snapshot_is_diff(const SnapshotRow *row);

/* --- key (snapshot_key.c) ----------------------------------------------------------------------
 */

/* All that a restore depends on: accelerator, QEMU, machine, CPU, sizes, devices. The caller owns
 * it. image and kernel: of the VM. */
json_t *snapshot_facts(const QemuFeatures *features, const char *accel, const VmRow *vm);
void snapshot_key(const json_t *facts, char key[65]);

/* ERROR_UNSUPPORTED when this host cannot restore it: "made by QEMU X, this is Y". */
int snapshot_check_host(const SnapshotRow *row, const QemuFeatures *features, const char *accel,
                        Error *error);

/* --- taking (take.c) ---------------------------------------------------------------------------
 */

typedef struct TakeOptions {
    const char *name;    /* borrowed; NULL: none */
    const char *purpose; /* borrowed; NULL: a user's own, else automatic */
    const char *key;     /* borrowed; NULL: made of the facts */
    bool standby;        /* the VM stays paused and keeps its overlay */
    bool compress;       /* its memory is stored compressed */
} TakeOptions;

/* For a caller that holds the VM's lock. The row is the caller's, and an automatic snapshot comes
 * pinned (the caller makes something need it, and unpins it). With standby the VM is paused in the
 * end, and a failure may have left it paused. */
int snapshot_take(Ramet *ramet, Operation *operation, VmRow *vm, const TakeOptions *options,
                  SnapshotRow *row, Error *error);

/* Undoes a half made one: files and row. */
void snapshot_undo(Ramet *ramet, const char *id);

/* --- restoring (launch.c, fork.c) --------------------------------------------------------------
 */

typedef struct Restore {
    const SnapshotRow *snapshot; /* borrowed; must be pinned or otherwise kept */
    const char *boot;            /* "forked", "restored", "claimed": what the row will say */
    bool clone;                  /* a new identity; else entropy, clock and network only */
    bool paused;     /* a pool's: run until the agent answers, then paused, without identity */
    bool background; /* nobody waits for it */
    bool in_group;   /* it is waited for with others: once it is ready it stays behind them, until
                        who made them all sets NICE_RUNNING */
} Restore;

/* One attempt; vm_launch with restore NULL boots cold. See internal.h. */
int vm_launch_from(Ramet *ramet, Operation *operation, VmRow *row, const Restore *restore,
                   int cancel_fd, bool *silent, Error *error);

/* grow.c: how many clones start at a time. */
long vm_turns_max(void);

/* The row of a VM that grows from it, not inserted yet. ERROR_USAGE for a smaller disk. */
int vm_grow_plan(const SnapshotRow *snapshot, const char *name, uint64_t disk_bytes, VmRow *row,
                 Error *error);

/* Makes a VM that grows from a pinned snapshot: its row (creating, so nobody sees it), folder and
 * overlay. Its specification is that of the snapshot's VM, without forwards. On failure nothing is
 * left. The lock and the row are the caller's. */
int vm_grow(Ramet *ramet, Operation *operation, const SnapshotRow *snapshot, const char *name,
            uint64_t disk_bytes, OpLock **lock, VmRow *row, Error *error);

/* Restores a VM that was grown and is not running, in the caller's turn (as many at a time as there
 * are cores). The row is still what it was but for the run's facts; the caller sets its state. On
 * failure no process is left. */
int vm_restore(Ramet *ramet, Operation *operation, VmRow *row, const Restore *restore,
               int cancel_fd, Error *error);

/* Makes durable what was made without a sync, once the client has its answer. */
void vm_sync_later(Ramet *ramet);

/* --- keeping and removing (lineage.c) ----------------------------------------------------------
 */

/* A pinned snapshot is not removed. Fails with ERROR_NOT_FOUND when it is not ready (any more). */
int snapshot_pin(Ramet *ramet, const char *id, SnapshotRow *row, Error *error);
void snapshot_pin_id(Ramet *ramet, const char *id); /* one that only the caller knows of */
void snapshot_unpin(Ramet *ramet, const char *id);

/* Row and files; ERROR_CONFLICT while something needs it or has it pinned. */
int snapshot_delete(Ramet *ramet, const SnapshotRow *row, Error *error);

/* Removes automatic snapshots and layers that nothing needs (any more). Failures are logged. */
void lineage_collect(Ramet *ramet);

/* At the daemon's start, after the VMs: half made and half removed snapshots, stray files. Returns
 * the number of failures. */
size_t lineage_reconcile(Ramet *ramet);

/* snapshot_describe.c */
int snapshot_describe(Ramet *ramet, const SnapshotRow *row, json_t **snapshot, Error *error);

/* standby.c: for callers that hold the lock. */
int vm_resume_locked(Ramet *ramet, Operation *operation, OpLock *lock, VmRow *row, Error *error);

/* At the daemon's start: ends what still runs of a VM in standby. */
int vm_reconcile_standby(Ramet *ramet, VmRow *row, Error *error);

/* Forgets what it had in memory: it is stopped then. */
int vm_discard_standby(Ramet *ramet, VmRow *row, Error *error);

/* After a crash in the middle of standby or of a snapshot, with the status of the keeper that lives
 * on: settles the disk's freezing; *go_on is set when the VM was left paused and must go on. NULL
 * for a keeper that is gone. */
int vm_settle_snapshot(Ramet *ramet, VmRow *row, const json_t *status, bool *go_on, Error *error);

/* Of a VM whose resume failed or broke off: may it be resumed again, since its disk was not written
 * to? */
bool vm_standby_survives(Ramet *ramet, const VmRow *row);

#endif
