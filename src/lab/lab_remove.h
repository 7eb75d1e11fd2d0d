/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LAB_LAB_REMOVE_H
#define RAMET_LAB_LAB_REMOVE_H

/* The end of a lab. Its row is the last to go, so that a daemon that dies at any moment leaves one
 * that names all that is left, and the next start goes on with it. */

#include "base/error.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/lab/labs.h"

/* Ends and removes its VMs, its networks, its row, for a caller that holds its lock. Goes on after
 * an error; the row stays when anything else does. */
int lab_remove_locked(Home *home, const LabRow *lab, Error *error);

/* Before requests are served: takes the locks of labs that are half made or half removed, and
 * removes them in the background. */
void labs_reconcile_later(Home *home);

#endif
