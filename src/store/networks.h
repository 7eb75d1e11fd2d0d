/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_NETWORKS_H
#define RAMET_STORE_NETWORKS_H

/* The table of networks that have a name. Which VMs are in them: store/network/leases.h. */

#include "base/path.h"
#include "base/process/process.h"
#include "store/impairment.h"
#include "store/store.h"
#include "store/vm_runtime.h"

typedef struct NetworkData {
    char backend[8];  /* "switch", "bridge" */
    char chosen[160]; /* why it is that one; empty: it was asked for */
    char subnet[16];  /* "10.77.0.0" */
    unsigned prefix;
    char gateway[16];
    char subnet6[46]; /* a unique local one, of 64 bits */
    unsigned prefix6;
    char gateway6[46];
    bool isolated;   /* its VMs do not reach each other */
    bool no_uplink;  /* nor anything outside */
    bool allow_host; /* they reach the host's own addresses */
    unsigned taps;
    unsigned uid;             /* its switch's own user; 0: the daemon's */
    char macs_of[VM_ID_SIZE]; /* the network that it is a copy of: MAC addresses are made as there;
                                 empty: none */
    Impairment impair;
    ProcessIdentity process; /* of its switch; pid 0: none runs */
    json_t *unknown;         /* owned: members of a later version; NULL: none */
} NetworkData;

typedef struct NetworkRow {
    char id[VM_ID_SIZE];
    char name[NAME_SIZE]; /* unique */
    char lab[VM_ID_SIZE]; /* the lab that it is of; empty: none */
    uint64_t created_at_usec;
    NetworkData data; /* owned */
} NetworkRow;

/* As an object, the caller's; and from one into a struct of zeroes. */
json_t *network_data_to_json(const NetworkData *data);
void network_data_from_json(const json_t *json, NetworkData *data);
/* Leaves nothing that is owned. */
void network_data_free(NetworkData *data);

/* The network `user`, in which each VM is alone (docs/networks.md). It is in no list, and is had by
 * its id only; its name is none that anybody can give. */
#define NETWORK_USER_ID "user"
bool network_is_user(const NetworkRow *row);

/* 1, or 0: nobody was in it yet. */
int networks_get_user(Store *store, NetworkRow *row, Error *error);

void network_row_free(NetworkRow *row);
#define _cleanup_network_row_ _cleanup_(network_row_free)
void network_rows_free(NetworkRow *rows, size_t count);

/* ERROR_CONFLICT when the name is taken. */
int networks_insert(Store *store, const NetworkRow *row, Error *error);

/* Writes its data. */
int networks_update(Store *store, const NetworkRow *row, Error *error);

/* ERROR_CONFLICT while a VM is in it; absent is success. */
int networks_delete(Store *store, const NetworkRow *row, Error *error);

/* By its name. ERROR_NOT_FOUND. */
int networks_get(Store *store, const char *name, NetworkRow *row, Error *error);

/* All of them, oldest first; and those of a lab. */
int networks_list(Store *store, NetworkRow **rows, size_t *count, Error *error);
int networks_list_of_lab(Store *store, const char *lab, NetworkRow **rows, size_t *count,
                         Error *error);

/* Those that are shown: not those of labs that are being made, or are warm. */
int networks_list_shown(Store *store, NetworkRow **rows, size_t *count, Error *error);

#endif
