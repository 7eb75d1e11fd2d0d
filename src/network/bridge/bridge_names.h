/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_BRIDGE_NAMES_H
#define RAMET_NETWORK_BRIDGE_BRIDGE_NAMES_H

/* What the devices and tables of a home are called. Names are reserved by how they begin; whose a
 * device really is tells its alias (IFLA_IFALIAS), which has the home, the network and the use. A
 * device without the right alias is somebody else's, whatever its name. */

#include <net/if.h>
#include <stdbool.h>

#include "store/networks.h"

#define BRIDGE_USE_SIZE 48 /* "bridge", "pool", or a card: "VMID/0" */
#define BRIDGE_ALIAS_SIZE 128

typedef struct BridgeNames {
    char home[17];      /* digits of the digest of the home's path */
    char table[16];     /* "ramet-1a2b3c4d", of both families */
    char tap_prefix[9]; /* "rt1a2b3c" */
} BridgeNames;

/* Of the home of that path: several homes on a host do not meet. */
void bridge_names_of(const char *home_path, BridgeNames *names);

/* Is it a network over a bridge? */
bool network_is_bridge(const NetworkRow *network);

/* "ramet5f0e1d2c": of a network. */
void bridge_device_name(const char *network_id, char name[IFNAMSIZ]);

/* A name that no TAP device had: the prefix and random digits. */
void bridge_tap_name(const BridgeNames *names, char name[IFNAMSIZ]);

/* A card's use. */
void bridge_card_use(const char *vm_id, size_t card, char use[BRIDGE_USE_SIZE]);

/* What marks a device of the home as the network's, for a use. */
void bridge_alias(const BridgeNames *names, const char *network_id, const char *use,
                  char alias[BRIDGE_ALIAS_SIZE]);

/* false: it is none of this home. */
bool bridge_alias_parse(const BridgeNames *names, const char *alias, char network_id[VM_ID_SIZE],
                        char use[BRIDGE_USE_SIZE]);

#endif
