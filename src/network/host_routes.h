/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_HOST_ROUTES_H
#define RAMET_NETWORK_HOST_ROUTES_H

/* Which addresses the host itself uses. */

#include "network/subnet.h"

typedef struct HostRoutes {
    Subnet *items; /* owned */
    size_t count;
} HostRoutes;

/* Of its devices, and of its routes but for the default one. */
int host_routes_read(HostRoutes *routes, Error *error);
void host_routes_free(HostRoutes *routes);

/* The lines of a /proc/net/route (proc(5)), added to what is there. */
void host_routes_add_table(HostRoutes *routes, const char *text);

/* The first that overlaps, or NULL. */
const Subnet *host_routes_find(const HostRoutes *routes, const Subnet *subnet);

#endif
