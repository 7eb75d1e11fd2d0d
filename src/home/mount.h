/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_MOUNT_H
#define RAMET_HOME_MOUNT_H

/* Disks beside the root as people ask for them. */

#include "base/error.h"
#include "base/json.h"
#include "store/vm_spec.h"

/* Reads `seeds`, a list of NAME:PATH[:SIZE], and `volumes`, one of NAME:PATH[:ro], into mounts that
 * may hold some already. Either may be NULL. ERROR_USAGE: what is no such text, a path that is
 * none, or one that two have. */
int vm_mounts_parse(const json_t *seeds, const json_t *volumes, VmMounts *mounts, Error *error);

/* Is it a path for a disk: absolute, plain (no "..", "." or empty parts), not the root, not in what
 * a guest's kernel and init mount there (/proc, /sys, /dev, /run)? ERROR_USAGE. */
int vm_mount_path_check(const char *path, Error *error);

/* DIR:PATH, as `image build --seed` has it: *dir is the caller's. ERROR_USAGE. */
int vm_mount_split(const char *text, char **dir, char path[VM_MOUNT_PATH_SIZE], Error *error);

/* ERROR_USAGE: a VM would have one disk more than it can, which is that one. */
int vm_mounts_too_many(const char *what, Error *error);

/* One more. ERROR_USAGE when there are too many or two have one path. */
int vm_mounts_add(VmMounts *mounts, const VmMount *mount, Error *error);

#endif
