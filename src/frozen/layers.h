/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_LAYERS_H
#define RAMET_FROZEN_LAYERS_H

/* Layers of disks, and the overlay on top. */

#include "base/error.h"
#include "disk/base_file.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* "HOME/layers/ID.qcow2"; the caller owns it. */
char *layer_path(const Home *home, const char *id);

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
int layer_chain_open(Home *home, const char *layer, const char *base_path, LayerChain *chain,
                     Error *error);

/* Makes an overlay over a layer ("": over the base) for the VM. durable: fsync. */
int layer_make_overlay(Home *home, const VmRow *row, int dir_fd, const char *name,
                       const char *layer, const char *base_path, uint64_t bytes, bool durable,
                       Error *error);

/* The same for those of its mounts that have one; the root disk's is made by the one above. */
int layer_make_overlays(Home *home, const VmRow *row, int dir_fd, bool durable, Error *error);

/* Freezing a VM's overlays, of all its disks, in three steps. begin: each overlay gets a second
 * name as a layer, and the VM a new, empty overlay over that; the VM's row knows of both
 * (`freezing`), so that a crash can be recovered from. commit: the new overlays are the VM's; the
 * layers are made read-only. recover: after a failure or a crash, finds out whether the VM writes
 * to the new overlays already (switched: it does so to all or none), and commits or undoes. All for
 * callers that hold the VM's lock. */
bool layer_is_freezing(const VmRow *row);
int layer_freeze_begin(Home *home, VmRow *row, Error *error);
int layer_freeze_commit(Home *home, VmRow *row, Error *error);
int layer_freeze_recover(Home *home, VmRow *row, bool switched, Error *error);

/* Has any new overlay, of a VM that does not run, any content? */
bool layer_freezing_has_content(Home *home, const VmRow *row);

/* Does each of its overlays, of a VM that does not run, show what the layer below it has? Then
 * there is nothing to freeze. */
bool layer_is_frozen(Home *home, const VmRow *row);

/* Writes each of the snapshot's chains as one layer over the base when it is deeper than
 * LAYER_DEPTH_MAX, and lets the snapshot (whose row is written) stand on that. The VMs over it may
 * run on. */
#define LAYER_DEPTH_MAX 8
int layer_flatten(Home *home, Operation *operation, SnapshotRow *snapshot, Error *error);

/* Writes the disk that a layer shows ("": the base itself) into an empty file, holes as holes.
 * `path` is the file's. The layer is kept by the caller. */
int layer_write_raw(Home *home, Operation *operation, const char *layer, const char *base_path,
                    int fd, const char *path, Error *error);

/* Lets a VM that does not run stand on the flattened layers where there are some. */
int layer_use_flattened(Home *home, VmRow *row, Error *error);

/* Removes layers on which nothing stands. */
int layers_collect(Home *home, size_t *count, Error *error);

#endif
