/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_EMULATED_EMULATED_CPU_H
#define RAMET_AGENT_EMULATED_EMULATED_CPU_H

#include <stdbool.h>

/* What this folder does brings something only where QEMU translates the guest's code (TCG). Under
 * KVM and on hardware all of it is off. docs/emulated.md weighs each. */

/* Whether that is so here. */
bool emulated_cpu(void);

/* Whether a hypervisor of that name is such: the 12 bytes of the CPUID leaf 0x40000000. */
bool emulated_cpu_is_name(const char name[12]);

#endif
