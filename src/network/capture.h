/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_CAPTURE_H
#define RAMET_NETWORK_CAPTURE_H

#include "home/home.h"
#include "proto/switch.h"
#include "store/vms.h"

/* What is to be captured: found first, since a client is told what is wrong in another way once its
 * stream has begun. */
typedef struct CaptureTarget {
    int switch_fd;           /* owned: a connection to the network's switch */
    int packet_fd;           /* owned: where frames come from, over a bridge; else -1 */
    char id[SWITCH_ID_SIZE]; /* of a port; "": the whole network */
} CaptureTarget;

#define CAPTURE_TARGET_INIT \
    { .switch_fd = -1, .packet_fd = -1 }

/* A whole network. ERROR_NOT_FOUND. */
int network_capture_find(Home *home, const char *name, CaptureTarget *target, Error *error);

/* The card of a VM with that index. ERROR_CONFLICT: it is in no network with a name. */
int network_capture_find_card(Home *home, const VmRow *vm, size_t card, CaptureTarget *target,
                              Error *error);

/* The switch writes pcapng to output_fd (borrowed; a socket or pipe) until nobody reads it any
 * more. ERROR_CONFLICT: it writes as many captures as it can. */
int network_capture_begin(const CaptureTarget *target, int output_fd, Error *error);

void network_capture_close(CaptureTarget *target);

#endif
