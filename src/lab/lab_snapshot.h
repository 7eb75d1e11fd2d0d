/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LAB_LAB_SNAPSHOT_H
#define RAMET_LAB_LAB_SNAPSHOT_H

/* Labs' snapshots.
 *
 * As JSON: {"id","name","lab","created_at","spread_us","held_us","networks":[{"name","subnet",
 * "subnet6","gateway"}],"vms":[{"name","state","snapshot","hostname","pause_us","networks":[{"name","card",
 * "ip","mac"}]}],"copies":[names of labs]}. The caller owns it. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"

/* Of a lab that runs; one of its VMs that is stopped is so in copies. ERROR_CONFLICT: the name is
 * taken, a VM of the lab is paused or in standby, or writes to a volume without clone_volumes. */
int lab_snapshot_create(Home *home, Operation *operation, const char *lab, const char *name,
                        bool clone_volumes, json_t **snapshot, Error *error);

/* [snapshot], oldest first. */
int lab_snapshot_list(Home *home, json_t **list, Error *error);

/* ERROR_NOT_FOUND */
int lab_snapshot_inspect(Home *home, const char *reference, json_t **snapshot, Error *error);

/* And the snapshots of its VMs, as far as nothing else grows from them. ERROR_CONFLICT while a lab
 * grows from it. *removed: {"id","name"}. */
int lab_snapshot_remove(Home *home, Operation *operation, const char *reference, json_t **removed,
                        Error *error);

#endif
