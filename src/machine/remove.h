/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_REMOVE_H
#define RAMET_MACHINE_REMOVE_H

#include "base/error.h"
#include "home/home.h"
#include "store/vms.h"

/* Row, folder, socket: all of it. Goes on after an error. */
int vm_remove_locked(Home *home, VmRow *row, Error *error);

#endif
