/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/timer_chip.h"

#include <string.h>
#include <sys/io.h>

#include "agent/util.h"

#define CLOCK_EVENT "/sys/devices/system/clockevents/clockevent0/current_device"

/* 8254 data sheet, "Programming the 8254": the control word's bits 6 to 7 choose the counter, 4 and
 * 5 that both bytes of the count follow, 1 to 3 the mode. In mode 0 it counts down once. */
#define CONTROL_PORT 0x43
#define COUNTER_0_PORT 0x40
#define COUNTER_0_MODE_0 0x30

void timer_chip_stop(void) {
    char device[32];

    if (read_text(CLOCK_EVENT, device, sizeof(device)) < 0 || strncmp(device, "lapic", 5) != 0 ||
        ioperm(COUNTER_0_PORT, CONTROL_PORT - COUNTER_0_PORT + 1, 1) < 0)
        return;
    outb(COUNTER_0_MODE_0, CONTROL_PORT);
    outb(0, COUNTER_0_PORT);
    outb(0, COUNTER_0_PORT);
    (void)ioperm(COUNTER_0_PORT, CONTROL_PORT - COUNTER_0_PORT + 1, 0);
}
