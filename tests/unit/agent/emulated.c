/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/emulated/emulated_cpu.h"

#include "agent/emulated/apic_timer.h"
#include "agent/emulated/timer_chip.h"
#include "check.h"

static void test_names(void) {
    CHECK(emulated_cpu_is_name("TCGTCGTCGTCG"));
    CHECK(!emulated_cpu_is_name("KVMKVMKVM\0\0\0"));
    CHECK(!emulated_cpu_is_name("Microsoft Hv"));
    CHECK(!emulated_cpu_is_name("\0\0\0\0\0\0\0\0\0\0\0\0"));
}

/* Under KVM and on hardware nothing of it is done, whatever root may do there. */
static void test_off_elsewhere(void) {
    if (emulated_cpu())
        return;
    CHECK(!apic_timer_open());
    apic_timer_postpone(); /* would write to the timer of this machine */
    apic_timer_fire();
    CHECK(!timer_chip_stop());
}

int main(void) {
    RUN(test_names);
    RUN(test_off_elsewhere);
    return 0;
}
