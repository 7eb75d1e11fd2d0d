/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_NETWORK_H
#define RAMET_NETWORK_NETWORK_H

/* Networks that have a name: made, shown and removed.
 *
 * A network as JSON:
 * {"name","backend","chosen","subnet","subnet6","gateway","gateway6","isolated","uplink",
 * "allow_host","taps":{"free","size"},"vms":[{"name","ip","ip6","mac"}],"impair","created_at"}. The
 * caller owns it. */

#include "base/json.h"
#include "home/home.h"
#include "store/networks.h"

#define NETWORK_TAPS_MAX 1024

typedef struct NetworkOptions {
    const char *name;
    const char
        *lab; /* the id of the lab that it is of, and then the name is LAB/NAME; NULL: none */
    const char *subnet;  /* "10.1.0.0/24"; NULL: a free one */
    const char *backend; /* "switch", "bridge" or "auto"; NULL: auto */
    bool isolated;       /* its VMs do not reach each other */
    bool no_uplink;      /* nor anything outside */
    bool allow_host;     /* they reach the host's own addresses */
    unsigned taps;       /* devices made ahead */
} NetworkOptions;

/* ERROR_CONFLICT when the name or the subnet is taken, by another network or by the host (a lab may
 * have the subnets of other labs: each of its networks has a switch of its own, and nothing of them
 * is in the host);
 * ERROR_USAGE; ERROR_UNSUPPORTED for a backend that is not there. network may be NULL. */
int network_create(Home *home, const NetworkOptions *options, json_t **network, Error *error);

/* One of a lab, as the model is, which may be gone by now: the same addresses, the same MAC address
 * for each of them, and a switch of its own, so that frames of the one never meet the other's.
 * ERROR_CONFLICT: the name is taken. */
int network_create_copy(Home *home, const NetworkRow *model, const char *name, const char *lab,
                        Error *error);

/* ERROR_NOT_FOUND */
int network_inspect(Home *home, const char *name, json_t **network, Error *error);

/* [network], oldest first. */
int network_list(Home *home, json_t **list, Error *error);

/* ERROR_NOT_FOUND; ERROR_CONFLICT while a VM is in it, or when it is a lab's. */
int network_remove(Home *home, const char *name, Error *error);

/* The same of a lab that goes. */
int network_remove_with_lab(Home *home, const char *name, Error *error);

#endif
