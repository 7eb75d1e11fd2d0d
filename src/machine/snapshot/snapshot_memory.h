/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_SNAPSHOT_SNAPSHOT_MEMORY_H
#define RAMET_MACHINE_SNAPSHOT_SNAPSHOT_MEMORY_H

/* What a VM that runs, or is in standby, has beside its disks: memory and device state. */

#include "machine/snapshot/saving.h"

/* Into scratch files, `files`; NULL afterwards: the VM does not run and has none. Of one that runs
 * the disks are switched to the new overlays in the same pause, and `switched` tells whether they
 * were, also on failure. */
int snapshot_save_memory(Saving *saving, Error *error);

#endif
