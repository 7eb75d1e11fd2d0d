/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_RENAME_H
#define RAMET_MACHINE_RENAME_H

#include "store/vms.h"

/* What its host name is to be at its next start: its own, or made of its name. */
void vm_update_hostname(VmRow *row);

#endif
