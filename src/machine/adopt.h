/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_ADOPT_H
#define RAMET_MACHINE_ADOPT_H

#include "home/home.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* A VM that goes on after its snapshot maps the snapshot's memory in the place of its own, if its
 * keeper offered that: a moment later, in a thread of its own. What does not come to be costs
 * memory and nothing else. */
void vm_adopt_later(Home *home, const VmRow *vm, const SnapshotRow *snapshot);

#endif
