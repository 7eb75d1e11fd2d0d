/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORAGE_CONFIG_DISK_H
#define RAMET_STORAGE_CONFIG_DISK_H

/* Config disks: what one VM alone reads, given to it when it is made or forked. A file as it is, or
 * a folder as ISO 9660; both become a frozen base. */

#include "base/error.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/vm_spec.h"

#define CONFIG_DISK_PATH "/media/config" /* where the guest has it */
#define CONFIG_DISK_LABEL "config"       /* of one that is made of a folder */

/* Holds the bases (storage/bases.h) when there is something to make one of. The end of it also
 * removes what was made in vain. */
Home *config_disk_hold(Home *home, const char *source);
void config_disk_release_p(Home **home);
#define _cleanup_config_disk_ _cleanup_(config_disk_release_p) __attribute__((unused))

/* Makes it; the caller holds. ERROR_USAGE: neither file nor folder, empty, or too large;
 * ERROR_CONFLICT: it changed while it was read. */
int config_disk_make(Home *home, Operation *operation, const char *source, VmMount *mount,
                     Error *error);

/* One more disk of the specification, when it asks for one; the caller holds. */
int config_disk_add(Home *home, Operation *operation, VmSpec *spec, Error *error);

/* The config disk in place of that which they have; ERROR_USAGE: they have none. */
int config_disk_replace(VmMounts *mounts, const VmMount *mount, Error *error);

/* What of the disks is another one than the snapshot's memory knows: as the agent is told it
 * (TAG_CHANGED_DISK), "" when nothing is. */
void config_disk_changed(const VmMounts *frozen, const VmMounts *now, char *text, size_t room);

#endif
