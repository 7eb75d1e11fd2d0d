/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORAGE_MOUNTS_H
#define RAMET_STORAGE_MOUNTS_H

/* What a VM asks for beside its root disk, found. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/vm_spec.h"

/* Fills base, volume and size of each mount that does not have them yet, and sorts them by their
 * paths, so that what lies in another is mounted after it. The caller holds the bases
 * (storage/bases.h) until the VM's row is there. ERROR_NOT_FOUND, ERROR_USAGE: too small. */
int mounts_resolve(Home *home, VmMounts *mounts, Error *error);

/* Adds the seeds that an image brings (`seeds` of its detail; NULL: none), where nothing else was
 * asked for. One that is gone is left out, and told of. */
void mounts_add_of_image(Home *home, Operation *operation, const json_t *seeds, VmMounts *mounts);

#endif
