/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_EMULATED_TIMER_CHIP_H
#define RAMET_AGENT_EMULATED_TIMER_CHIP_H

#include <stdbool.h>

/* Stops the programmable interval timer (Intel 8254), where Linux ticks by another one. After a
 * reset it counts down from 65536 for ever, and a kernel that finds it not wired leaves it so. An
 * emulator then wakes up 36 times a second for nothing: most of what an idle VM costs its host.
 * False: it goes on, since it is in use or the CPU is not emulated. */
bool timer_chip_stop(void);

#endif
