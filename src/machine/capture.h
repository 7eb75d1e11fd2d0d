/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_CAPTURE_H
#define RAMET_MACHINE_CAPTURE_H

#include "home/home.h"
#include "network/capture.h"

/* What that name means: a network, or a VM that runs, and of it the card ("eth1"; NULL: the first
 * one that is in a network with a name). ERROR_NOT_FOUND; ERROR_CONFLICT: the VM does not run, or
 * the card is in no such network; ERROR_UNSUPPORTED. */
int capture_find(Home *home, const char *name, const char *card, CaptureTarget *target,
                 Error *error);

#endif
