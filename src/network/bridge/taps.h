/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_TAPS_H
#define RAMET_NETWORK_BRIDGE_TAPS_H

/* A list of the home's TAP devices: those that wait in pools, and those that are a VM's card. A
 * device lives as long as somebody has it open: the daemon, or a VM's QEMU. So a daemon that ends
 * leaves no device but those of VMs, and these are found again by their aliases. */

#include "network/bridge/bridge_names.h"
#include "network/bridge/shape.h"
#include "proto/net_limit.h"
#include "store/vms.h"

typedef struct Tap {
    unsigned index; /* the kernel's: never given twice */
    char name[IFNAMSIZ];
    char network[VM_ID_SIZE];
    char use[BRIDGE_USE_SIZE];
    int fd;         /* owned: of one that waits; else -1 */
    bool attached;  /* the rules have what follows */
    bool has_lines; /* its queues are not the kernel's own, or it is not known what they are */
    Shape shape;
    NetLimit limit;
    VmAddress address;
    PortForward *forwards; /* owned */
    size_t n_forwards;
} Tap;

typedef struct Taps {
    Tap *items; /* owned */
    size_t count;
} Taps;

/* Takes fd over. */
void taps_add(Taps *taps, const Tap *tap);

/* The device of a use; NULL: there is none. Of pools, any of the network. */
Tap *taps_find(const Taps *taps, const char *use);
Tap *taps_find_free(const Taps *taps, const char *network);
size_t taps_count_free(const Taps *taps, const char *network);

/* The card becomes as its row has it. */
void tap_set_card(Tap *tap, const VmAddress *address, const PortForward *forwards, size_t count);

/* One more or less; none of these is fine. */
void tap_add_forward(Tap *tap, const PortForward *forward);
void tap_remove_forward(Tap *tap, const PortForward *forward);

/* Forgets it; closes what it has. */
void taps_remove(Taps *taps, Tap *tap);
void taps_free(Taps *taps);

#endif
