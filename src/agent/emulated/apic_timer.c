/* SPDX-License-Identifier: Apache-2.0 */
/* Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3A, chapter 11: "Local APIC
 * Registers" for where they are, "APIC Timer" for what they do. In its one-shot mode, the only one
 * that an emulated CPU has Linux use, writing the initial count starts the timer anew. */

#include "agent/emulated/apic_timer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/base/util.h"
#include "agent/emulated/emulated_cpu.h"

#define APIC_ADDRESS 0xfee00000
#define APIC_BYTES 4096
#define LVT_TIMER 0x320
#define LVT_TIMER_MODE 0x60000u /* bits 17 and 18; 0: one-shot */
#define INITIAL_COUNT 0x380
#define DIVIDE 0x3e0
#define DIVIDE_MASK 0xbu
#define DIVIDE_BY_16 0x3u /* what Linux sets */

#define COUNTS_PER_MSEC (1000000u / 16u) /* QEMU's APIC counts nanoseconds */
#define POSTPONE_MSEC 100u

static volatile uint32_t *apic; /* NULL: leave it alone */

static volatile uint32_t *reg(unsigned offset) {
    return apic + offset / sizeof(*apic);
}

bool apic_timer_open(void) {
    if (apic || !emulated_cpu())
        return apic != NULL;
    _cleanup_close_ int fd = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
    void *page = fd < 0 ? MAP_FAILED
                        : mmap(NULL, APIC_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                               fd, APIC_ADDRESS);
    if (page == MAP_FAILED)
        return false;
    (void)madvise(page, APIC_BYTES, MADV_DONTFORK);
    apic = page;
    return true;
}

static void start(uint32_t count) {
    if (apic && (*reg(LVT_TIMER) & LVT_TIMER_MODE) == 0 &&
        (*reg(DIVIDE) & DIVIDE_MASK) == DIVIDE_BY_16)
        *reg(INITIAL_COUNT) = count;
}

void apic_timer_postpone(void) {
    start(POSTPONE_MSEC * COUNTS_PER_MSEC);
}

void apic_timer_fire(void) {
    start(1);
}
