/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_USAGE_BOOT_FILES_H
#define RAMET_USAGE_BOOT_FILES_H

/* What VMs boot with beside their disks: kernel bundles, and below HOME/initramfs archives and
 * disks for cloud-init. All can be made again. Who takes one touches it, and has no row yet that
 * names it; so none goes that was touched within the last hour. */

#include "base/error.h"
#include "usage/usage.h"

/* Adds all of the two folders, those included that nothing stands on. */
void usage_add_boot_files(Usage *usage, int home_fd);

/* Removes one. 1; ERROR_CONFLICT: it was used meanwhile. */
int usage_remove_boot_file(int home_fd, const UsageItem *item, Error *error);

#endif
