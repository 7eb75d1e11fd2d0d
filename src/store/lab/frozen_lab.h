/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_LAB_FROZEN_LAB_H
#define RAMET_STORE_LAB_FROZEN_LAB_H

/* What is kept of a lab that was frozen at one moment: all that its copies are made of, so that the
 * lab itself may go. Its VMs and networks are called as they are within it. */

#include "base/json.h"
#include "store/networks.h"
#include "store/vms.h"

typedef struct FrozenVm {
    char name[64];
    char snapshot[VM_ID_SIZE]; /* its id */
    char hostname[64];
    char machine_id[VM_ID_SIZE];
    VmCards cards; /* with the addresses that it had; a network with a name is one of the lab's */
    Impairment impair;
    bool stopped; /* it did not run, and does not in copies */
} FrozenVm;

typedef struct FrozenLab {
    json_t *description; /* owned: the lab's (store/lab/labs.h) */
    size_t n_networks;
    NetworkRow *networks; /* owned: id and data of each; the name is that within the lab */
    size_t n_vms;
    FrozenVm *vms;      /* owned */
    uint64_t spread_us; /* from the first VM that stood still to the last */
    uint64_t held_us;   /* so long its networks passed no frames */
} FrozenLab;

#define FROZEN_LAB_VMS_MAX 256

/* Leaves nothing. */
void frozen_lab_free(FrozenLab *lab);
#define _cleanup_frozen_lab_ _cleanup_(frozen_lab_free)

/* Room for so many, in a struct of zeroes; the counts stay 0. */
void frozen_lab_make_room(FrozenLab *lab, size_t n_networks, size_t n_vms);

/* Those whose memory was frozen, too. */
size_t frozen_lab_count_running(const FrozenLab *lab);

/* As it lies in a row, the caller's; and from there into a struct of zeroes. */
json_t *frozen_lab_to_json(const FrozenLab *lab);
int frozen_lab_from_json(const json_t *json, FrozenLab *lab, Error *error);

#endif
