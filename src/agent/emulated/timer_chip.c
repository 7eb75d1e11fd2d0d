/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/emulated/timer_chip.h"

#include <string.h>
#include <sys/io.h>
#include <sys/wait.h>

#include "agent/base/util.h"
#include "agent/emulated/emulated_cpu.h"

#define CLOCK_EVENT "/sys/devices/system/clockevents/clockevent0/current_device"

/* 8254 data sheet, "Programming the 8254": the control word's bits 6 to 7 choose the counter, 4 and
 * 5 that both bytes of the count follow, 1 to 3 the mode. In mode 0 it counts down once. */
#define CONTROL_PORT 0x43
#define COUNTER_0_PORT 0x40
#define COUNTER_0_MODE_0 0x30

static bool is_unused(void) {
    char device[32];
    return read_text(CLOCK_EVENT, device, sizeof(device)) >= 0 && strncmp(device, "lapic", 5) == 0;
}

static void stop(void) {
    if (ioperm(COUNTER_0_PORT, CONTROL_PORT - COUNTER_0_PORT + 1, 1) < 0)
        return;
    outb(COUNTER_0_MODE_0, CONTROL_PORT);
    outb(0, COUNTER_0_PORT);
    outb(0, COUNTER_0_PORT);
}

/* In a child: who has had access to ports is a little slower to switch to, ever after. */
bool timer_chip_stop(void) {
    pid_t pid = emulated_cpu() && is_unused() ? fork() : -1;
    if (pid == 0) {
        stop();
        _exit(0);
    }
    return pid > 0 && waitpid(pid, NULL, 0) == pid;
}
