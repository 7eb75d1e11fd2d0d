/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_ADMISSION_H
#define RAMET_HOME_ADMISSION_H

/* Is there room for it? */

#include "base/error.h"
#include "home/home.h"
#include "store/vm_spec.h"

/* Is there room for it? */
int admission_check_memory(uint64_t wanted_bytes, Error *error);
int admission_check_disk(const Home *home, Error *error);

/* Of forwards to a VM as it is asked for. ERROR_CONFLICT: a host port is taken; ERROR_PERMISSION:
 * one is not for who listens. */
int admission_check_ports(const VmSpec *spec, const PortForwards *forwards, Error *error);

/* Puts a free host port in the place of each 0. Two callers at the same time get different ones. */
int admission_pick_ports(PortForwards *forwards, Error *error);

#endif
