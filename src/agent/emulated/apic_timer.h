/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_EMULATED_APIC_TIMER_H
#define RAMET_AGENT_EMULATED_APIC_TIMER_H

#include <stdbool.h>

/* The timer of the local APIC, by which Linux ticks. An emulated CPU translates the code that it
 * runs, and in a clone all is new to it: the first two ticks take it as long as half of becoming
 * itself. So while nobody but the agent may run, the next tick is put off. It is never lost: should
 * the agent sleep or die, it comes late. */

/* Maps it, once. Only where the CPU is emulated, and the kernel lets root map devices
 * (iomem=relaxed); elsewhere it is false, and the others do nothing. */
bool apic_timer_open(void);

/* The next tick of this CPU comes 100 ms from now, unless the kernel sets another. */
void apic_timer_postpone(void);

/* The next tick comes at once, and with it what is due. */
void apic_timer_fire(void);

#endif
