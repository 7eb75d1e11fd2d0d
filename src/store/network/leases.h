/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_NETWORK_LEASES_H
#define RAMET_STORE_NETWORK_LEASES_H

/* The table of leases: which card of which VM has which address in which network. The database
 * itself sees to it that an address has one holder, that there is none without its VM (a lease goes
 * with the VM's row), and that a network with a lease stays. There is no time in it. */

#include <stdint.h>

#include "store/store.h"
#include "store/vm_runtime.h"

typedef struct LeaseRow {
    char network[VM_ID_SIZE]; /* the network's id */
    uint32_t ip;              /* in host order; unique in the network */
    char mac[18];             /* the same */
    char vm[VM_ID_SIZE];      /* its id */
    unsigned card;            /* its index */
} LeaseRow;

/* The VM's row may come later in the same transaction. -EEXIST (ERROR_CONFLICT) when another has
 * the address, -EAGAIN when another has the MAC address. */
int leases_insert(Store *store, const LeaseRow *row, Error *error);

/* All of a VM; none is success. */
int leases_delete(Store *store, const char *vm, Error *error);

/* Of a network, by address; free() the rows. */
int leases_list(Store *store, const char *network, LeaseRow **rows, size_t *count, Error *error);

/* The least free address from `first` to `last` that is above all that are taken there, or else any
 * that is free. 1: found, 0: all are taken. */
int leases_find_free(Store *store, const char *network, uint32_t first, uint32_t last, uint32_t *ip,
                     Error *error);

#endif
