/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/emulated/emulated_cpu.h"

#include <cpuid.h>
#include <string.h>

#define HYPERVISOR_LEAF 0x40000000u
#define FEATURES_LEAF 1u
#define HYPERVISOR_BIT (1u << 31) /* of ecx; without it the leaf may say anything */

bool emulated_cpu_is_name(const char name[12]) {
    return memcmp(name, "TCGTCGTCGTCG", 12) == 0; /* target/i386/cpu.c of QEMU */
}

bool emulated_cpu(void) {
    unsigned eax, ebx, ecx, edx, name[3];
    __cpuid(FEATURES_LEAF, eax, ebx, ecx, edx);
    if (!(ecx & HYPERVISOR_BIT))
        return false;
    __cpuid(HYPERVISOR_LEAF, eax, name[0], name[1], name[2]);
    return emulated_cpu_is_name((const char *)name);
}
