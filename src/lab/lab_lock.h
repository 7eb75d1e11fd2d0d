/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LAB_LAB_LOCK_H
#define RAMET_LAB_LAB_LOCK_H

#include "home/home.h"
#include "home/op_lock.h"

/* One operation at a time for each lab's name, whether there is such a lab or not: "being brought
 * up", for the message of those who wait. It comes before the locks of VMs. ERROR_CONFLICT,
 * ERROR_CANCELLED. */
int lab_lock(Home *home, const char *name, const char *what, int cancel_fd, OpLock **lock,
             Error *error);

/* Asks who holds it to give up. */
void lab_lock_abort(Home *home, const char *name);

#endif
