/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_LAB_LABS_H
#define RAMET_STORE_LAB_LABS_H

/* The table of labs. A lab's VMs and networks are rows of their own tables that carry its id
 * (vms_list_of_lab, networks_list_of_lab); they are called LAB/VM and LAB/NETWORK, and nothing
 * reads a lab out of these names. The database itself sees to it that a lab stays while anything is
 * of it. */

#include "base/json.h"
#include "store/networks.h"
#include "store/vms.h"

typedef enum LabState {
    LAB_CREATING, /* nobody sees it; a daemon that finds one at its start undoes it */
    LAB_READY,
    LAB_REMOVING,   /* a daemon that finds one at its start goes on with it */
    LAB_WARM,       /* a copy of a frozen lab that waits to be claimed, and that nobody sees */
    LAB_DISCARDING, /* one that nobody saw is being removed, and nobody sees that either */
} LabState;

/* "ready". Static. */
const char *lab_state_name(LabState state);

/* Is it in any list? */
bool lab_state_is_seen(LabState state);

typedef struct LabRow {
    char id[VM_ID_SIZE];
    char name[64]; /* unique */
    LabState state;
    char snapshot[VM_ID_SIZE]; /* the lab's snapshot that it was forked from; empty: none */
    uint64_t created_at_usec;
    json_t *description; /* owned: what was asked for, {"networks":[…],"vms":[…]} as the API's */
} LabRow;

void lab_row_free(LabRow *row);
#define _cleanup_lab_row_ _cleanup_(lab_row_free)
void lab_rows_free(LabRow *rows, size_t count);

/* ERROR_CONFLICT when the name is taken. */
int labs_insert(Store *store, const LabRow *row, Error *error);

/* Another state. ERROR_NOT_FOUND when the row is gone. */
int labs_set_state(Store *store, const char *id, LabState state, Error *error);

/* The oldest warm copy of a lab's snapshot of which so many VMs are warm becomes `creating` under
 * this name, with its VMs and networks, in one step. 1 and the row, or 0: none is warm.
 * ERROR_CONFLICT: the name is taken, and then nothing was changed. */
int labs_claim_warm(Store *store, const char *snapshot, size_t n_vms, const char *name, LabRow *row,
                    Error *error);

/* For one that is to go: 1 when it is no longer warm but `discarding`, 0 when it was not warm. */
int labs_take_warm(Store *store, const char *id, Error *error);

/* ERROR_CONFLICT while a VM or a network is of it; absent is success. */
int labs_delete(Store *store, const LabRow *row, Error *error);

/* By id, in whatever state. ERROR_NOT_FOUND. */
int labs_get(Store *store, const char *id, LabRow *row, Error *error);

/* By name, id, or the start of an id (4 digits or more) that fits only one; one that is being made,
 * or is warm, is not found. ERROR_NOT_FOUND, or ERROR_CONFLICT when it fits several. */
int labs_find(Store *store, const char *reference, LabRow *row, Error *error);

/* All of them in whatever state, oldest first. */
int labs_list(Store *store, LabRow **rows, size_t *count, Error *error);

/* For what is to go or to be renamed alone, "VM" or "network": ERROR_CONFLICT when it is of a lab.
 */
int labs_check_alone(Store *store, const char *lab, const char *what, const char *name,
                     Error *error);

#endif
