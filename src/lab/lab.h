/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LAB_LAB_H
#define RAMET_LAB_LAB_H

/* Labs: VMs and the networks between them that are one thing (docs/labs.md).
 *
 * A lab as JSON: {"id","name","state","from","created_at","networks":[{"name","network",…}],
 * "vms":[{"name","vm","id","state","ready","ip",…}]}. A "name" of a network or a VM is what the
 * lab's description calls it, and "network" or "vm" what everybody else does: LAB/NAME. The caller
 * owns it. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"

/* Makes all of a description ({"networks":[…],"vms":[…]}, as the API has it): networks, VMs, which
 * start at once, their commands; and waits until each is ready. What fails undoes all of it, and so
 * do a client that goes away and a daemon that dies (lab_remove.h). ERROR_CONFLICT: the name is
 * taken; ERROR_USAGE; ERROR_GUEST_NOT_READY: a VM's `ready` did not succeed in time. */
int lab_up(Home *home, Operation *operation, const char *name, const json_t *description,
           json_t **lab, Error *error);

/* Ends and removes all of it, whatever is there. One that is still coming up is made to give up.
 * *removed (may be NULL): {"id","name"}. ERROR_NOT_FOUND. */
int lab_down(Home *home, Operation *operation, const char *reference, json_t **removed,
             Error *error);

/* ERROR_NOT_FOUND */
int lab_inspect(Home *home, const char *reference, json_t **lab, Error *error);

/* [lab], oldest first, without those that are coming up. */
int lab_list(Home *home, json_t **list, Error *error);

#endif
