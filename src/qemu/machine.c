/* SPDX-License-Identifier: Apache-2.0 */

/* The machine, the CPU model and the kernel's command line. Each choice is reasoned and measured in
 * docs/cold-boot.md. All but the command line are part of a snapshot's key: a change here makes old
 * snapshots unusable, so it is a change of format. */

#include <pthread.h>
#include <time.h>
#include <x86intrin.h>

#include "base/str.h"
#include "qemu/machine.h"

#define TSC_KHZ_LEAST 100000u
#define TSC_KHZ_MOST 10000000u

/* The kernel's watchdog takes each CPU from whoever has it every few seconds, from the agent, too,
 * while nobody else may run; and a VM that stood still for a while looks like a lockup to it. */
#define CMDLINE_COMMON "console=ttyS0 quiet panic=-1 cryptomgr.notests nowatchdog"

/* QEMU, hw/i386/microvm.c, microvm_devices_init: with one I/O APIC there are 8 virtio transports,
 * with two 24. */
#define OPTIONS "microvm,auto-kernel-cmdline=off,suppress-vmdesc=on"

#define CHANNELS 1 /* virtio-serial, the agent's */
/* A PC for disks with a boot loader of their own. Without graphics SeaBIOS has its screen on the
 * serial port, and so has what writes by it; SMM would only slow down the firmware. */
#define PC_OPTIONS "q35,vmport=off,smm=off,sata=off,graphics=off,suppress-vmdesc=on"

static const struct Machine {
    const char *name, *options;
    size_t devices;
} machines[] = {
    {"microvm-8", OPTIONS ",ioapic2=off", 8},
    {"microvm", OPTIONS, 24},
    {QEMU_MACHINE_PC, PC_OPTIONS, 24},
};

const char *qemu_machine_for(size_t disks, size_t cards) {
    return machines[disks + cards + CHANNELS > machines[0].devices].name;
}

const char *qemu_machine_options(const char *machine, const char *accel) {
    for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
        if (str_equal(machine, machines[i].name))
            return str_equal(accel, "tcg") || str_equal(accel, "kvm") ? machines[i].options : NULL;
    return NULL;
}

const char *qemu_machine_with(const char *options, const char *accel) {
    for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
        if (str_equal(options, qemu_machine_options(machines[i].name, accel)))
            return machines[i].name;
    return NULL;
}

/* AMD's processors have no IA32_ARCH_CAPABILITIES register. Some kernels tell QEMU that a guest
 * could have one all the same, and then refuse its value, which ends QEMU (before 10.1) at its
 * start. */
const char *qemu_default_cpu(const char *accel) {
    if (!str_equal(accel, "kvm"))
        return "qemu64,+arat";
    __builtin_cpu_init();
    return __builtin_cpu_is("amd") ? "host,arch-capabilities=off" : "host";
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

/* The rate of the host's time stamp counter, which is also that of an emulated guest, in kHz; 0
 * when it cannot be told. Takes 10 ms. Emulated guests are told it, since one that measures it
 * itself against the emulated timer chip fails to on a busy host, and then hangs
 * (docs/cold-boot.md). */
static unsigned measure_tsc_khz(void) {
    struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    uint64_t ticks[2] = {0}, nsec[2] = {0}, khz;
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
    unsigned khz = measure_tsc_khz();
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
