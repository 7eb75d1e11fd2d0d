/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_NET_SWITCH_RIG_H
#define RAMET_BENCH_NET_SWITCH_RIG_H

/* A switch of the bench's own, with ports whose other ends are here. */

#include <sys/types.h>

#include "proto/switch_client.h"

typedef struct SwitchRig {
    pid_t pid; /* 0: none */
    int control;
    int ends[SWITCH_PORTS_MAX]; /* ours, of each port's pair */
    size_t n_ends;
} SwitchRig;

/* A network without an uplink, and no ports. On failure there is still something to be freed. */
int switch_rig_init(SwitchRig *rig, Error *error);
void switch_rig_free(SwitchRig *rig);

/* The network as it was, with or without an uplink. */
int switch_rig_set_network(const SwitchRig *rig, bool uplink, Error *error);

/* The next port; its number counts from 0. */
int switch_rig_add_port(SwitchRig *rig, Error *error);
void switch_rig_port_id(size_t number, char id[SWITCH_ID_SIZE]);
void switch_rig_mac(size_t number, uint8_t mac[6]);

#endif
