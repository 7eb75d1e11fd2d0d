/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_NET_NET_PARTS_H
#define RAMET_BENCH_NET_NET_PARTS_H

/* The parts of `ramet bench net`: `--parts` names some of them. */

#include "bench/bench.h"

/* The switch alone, its ports driven without guests: what a frame takes of the processor, and a
 * port of memory. */
int bench_net_switch(Bench *bench, Error *error);

/* What a network adds to the time until a fork is ready. */
int bench_net_fork(Bench *bench, Error *error);

/* Leases, ports, names and forwards: many at once, and whether one costs more beside many. */
int bench_net_scale(Bench *bench, Error *error);

/* Throughput and round trip of guests, beside the network user. */
int bench_net_guests(Bench *bench, Error *error);

/* A lab of eight VMs: up, frozen at one moment, and copied. */
int bench_net_lab(Bench *bench, Error *error);

/* What the daemon makes for 1,000 VMs on a bridge, in a namespace of its own, without QEMU. */
int bench_net_bridge(Bench *bench, Error *error);

#endif
