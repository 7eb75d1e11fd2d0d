/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_PLAIN_PARTS_H
#define RAMET_BENCH_PLAIN_PARTS_H

/* Between plain_qemu.c (boot) and plain_migrate.c (to a file and back). */

#include <stdbool.h>
#include <sys/types.h>

#include "base/str.h"
#include "bench/plain_qemu.h"
#include "proto/agent.h"

#define PLAIN_CHANNEL_FD 3 /* QEMU's end of the agent's port, or of the monitor */
#define PLAIN_MONITOR_FD 4

/* The command line of PlainBoot, with the agent's port on PLAIN_CHANNEL_FD. */
void plain_argv(const PlainBoot *boot, StrList *argv);

/* channel and monitor (-1: none) are borrowed. The process dies with this one. */
int plain_spawn(StrList *argv, int channel, int monitor, pid_t *pid, Error *error);
void plain_end(pid_t pid);

/* Greets the agent and waits for its answer. booting: it announces itself first; otherwise marker
 * is what the last greeting left. *marker is then the next one's. */
int plain_greet(int fd, bool booting, uint8_t marker[AGENT_MARKER_SIZE], Error *error);

#endif
