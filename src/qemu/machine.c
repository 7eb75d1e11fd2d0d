/* SPDX-License-Identifier: Apache-2.0 */

/* The machine, the CPU model and the kernel's command line. Each choice is reasoned and measured in
 * docs/cold-boot.md. All but the command line are part of a snapshot's key: a change here makes old
 * snapshots unusable, so it is a change of format. */

#include <pthread.h>
#include <time.h>
#include <x86intrin.h>

#include "base/str.h"
#include "qemu/argv.h"

#define TSC_KHZ_LEAST 100000u
#define TSC_KHZ_MOST 10000000u

#define CMDLINE_COMMON "console=ttyS0 quiet panic=-1 cryptomgr.notests"

const char *qemu_machine_options(const char *machine, const char *accel) {
    if (!str_equal(machine, "microvm") || (!str_equal(accel, "tcg") && !str_equal(accel, "kvm")))
        return NULL;
    return "microvm,auto-kernel-cmdline=off,suppress-vmdesc=on";
}

const char *qemu_default_cpu(const char *accel) {
    return str_equal(accel, "kvm") ? "host" : "qemu64,+arat";
}

/* One reading of both clocks, as near to each other as three tries get them. */
static void read_clocks(uint64_t *ticks, uint64_t *nsec) {
    uint64_t best = UINT64_MAX;

    for (int i = 0; i < 3; i++) {
        struct timespec now;
        uint64_t before = __rdtsc(), after;

        (void)clock_gettime(CLOCK_MONOTONIC_RAW, &now);
        after = __rdtsc();
        if (after - before >= best)
            continue;
        best = after - before;
        *ticks = before + best / 2;
        *nsec = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    }
}

unsigned qemu_measure_tsc_khz(void) {
    struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    uint64_t ticks[2], nsec[2], khz;

    read_clocks(&ticks[0], &nsec[0]);
    (void)nanosleep(&pause, NULL);
    read_clocks(&ticks[1], &nsec[1]);
    if (nsec[1] <= nsec[0] || ticks[1] <= ticks[0])
        return 0;
    khz = (ticks[1] - ticks[0]) * 1000000u / (nsec[1] - nsec[0]);
    return khz >= TSC_KHZ_LEAST && khz <= TSC_KHZ_MOST ? (unsigned)khz : 0;
}

/* What a real CPU speculates about is nothing that an emulated one does: the kernel's workarounds
 * (retpolines foremost) would protect nobody, and make every indirect call three. */
static char tcg_cmdline[256];

static void make_tcg_cmdline(void) {
    unsigned khz = qemu_measure_tsc_khz();
    char tsc[64] = "";

    if (khz)
        (void)snprintf(tsc, sizeof(tsc), " tsc=reliable tsc_early_khz=%u", khz);
    (void)snprintf(tcg_cmdline, sizeof(tcg_cmdline),
                   CMDLINE_COMMON " mitigations=off iomem=relaxed%s", tsc);
}

const char *qemu_default_cmdline(const char *accel) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (str_equal(accel, "kvm"))
        return CMDLINE_COMMON;
    (void)pthread_once(&once, make_tcg_cmdline);
    return tcg_cmdline;
}
