/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TEND_WAKE_H
#define RAMET_TEND_WAKE_H

#include "base/error.h"
#include "home/home.h"
#include "home/operation.h"

/* Somebody wants the VM: one that sleeps since it was idle is resumed, and one that is on its way
 * there is waited for first. Any other is as it is, which is success. */
int tend_wake(Home *home, Operation *operation, const char *reference, const char *why,
              Error *error);

#endif
