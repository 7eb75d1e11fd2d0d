/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_PORTS_H
#define RAMET_MACHINE_PORTS_H

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"

/* One more host port that leads to a VM, at once where it runs, and for its further starts.
 * forward: as in a specification. ERROR_USAGE; ERROR_CONFLICT: the host's port is taken. */
int vm_port_add(Home *home, Operation *operation, const char *reference, const json_t *forward,
                json_t **vm, Error *error);

/* And one less. ERROR_NOT_FOUND: it is not forwarded. */
int vm_port_remove(Home *home, Operation *operation, const char *reference, uint64_t host_port,
                   bool udp, json_t **vm, Error *error);

#endif
