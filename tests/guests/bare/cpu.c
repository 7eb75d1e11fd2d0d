/* SPDX-License-Identifier: Apache-2.0 */
/* CPUs, their timers, and the time. Sources: Intel 64 and IA-32 Architectures Software Developer's
 * Manual, volume 3A, chapters 9.4 (starting other processors) and 11 (APIC; 11.5.4.1: TSC-deadline
 * mode).
 *
 * A timer is armed anew by nobody but the interrupt that it caused. So when it goes on in a clone,
 * then the shot that was armed in the snapshot has fired there. */

#include <cpuid.h>
#include <string.h>

#include "bare.h"

#define APIC 0xfee00000u
#define APIC_EOI (APIC + 0xb0)
#define APIC_SPURIOUS (APIC + 0xf0)
#define APIC_COMMAND (APIC + 0x300)
#define APIC_TIMER (APIC + 0x320)
#define APIC_INITIAL (APIC + 0x380)
#define APIC_CURRENT (APIC + 0x390)
#define APIC_DIVIDE (APIC + 0x3e0)
#define APIC_ID (APIC + 0x20)
#define TO_ALL_OTHERS 0xc0000u
#define INIT 0x4500u
#define STARTUP 0x4600u
#define BY_DEADLINE 0x40000u
#define MASKED 0x10000u
#define DIVIDE_BY_1 0xbu
#define MSR_DEADLINE 0x6e0u
#define TRAMPOLINE 0x8000u

#define VECTOR_TIMER 0x40u
#define VECTOR_SPURIOUS 0xffu
#define TICK_USEC 2000u /* how often CPU 0 looks at its port */
#define WATCH_USEC 20000u

Cpu cpus[CPUS_MAX];

typedef struct Gate {
    uint16_t low, segment, kind, middle;
    uint32_t high, zero;
} Gate;

static Gate gates[256] __attribute__((aligned(16)));
static uint64_t khz, born_ticks, born_usec;

/* Linux, Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW. */
static volatile struct {
    uint32_t version, pad;
    uint64_t ticks, nsec;
    uint32_t multiplier;
    int8_t shift;
    uint8_t flags, rest[2];
} kvmclock __attribute__((aligned(64)));
static bool has_kvmclock;

static void write_msr(uint32_t number, uint64_t value) {
    __asm__ volatile("wrmsr"
                     :
                     : "c"(number), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

/* ---- time: KVM's clock where there is one, as Linux has it, else the time stamp counter ---- */

uint64_t clock_ticks(void) {
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

uint64_t clock_khz(void) {
    return khz;
}

const char *clock_name(void) {
    return has_kvmclock ? "kvmclock" : "tsc";
}

/* QEMU's APIC and KVM's both count nanoseconds, so that is what the time stamp counter is held
 * against. One reading of both, as near to each other as ten tries get them. */
static void read_both(uint64_t *ticks, uint32_t *nsec_left) {
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 10; i++) {
        uint64_t before = clock_ticks();
        uint32_t left = mmio_read(APIC_CURRENT);
        uint64_t took = clock_ticks() - before;
        if (took >= best)
            continue;
        best = took;
        *ticks = before + took / 2;
        *nsec_left = left;
    }
}

static void begin_kvmclock(void) {
    unsigned highest, name[3], features, b, c, d;
    __cpuid(0x40000000u, highest, name[0], name[1], name[2]);
    if (memcmp(name, "KVMKVMKVM\0\0\0", sizeof(name)) != 0)
        return;
    __cpuid(0x40000001u, features, b, c, d);
    has_kvmclock = features >> 3 & 1;
    if (has_kvmclock)
        write_msr(0x4b564d01u, (uintptr_t)&kvmclock | 1);
}

void clock_begin(void) {
    uint64_t ticks[2] = {0};
    uint32_t left[2] = {0};
    mmio_write(APIC_DIVIDE, DIVIDE_BY_1);
    mmio_write(APIC_TIMER, MASKED | VECTOR_TIMER);
    mmio_write(APIC_INITIAL, UINT32_MAX);
    read_both(&ticks[0], &left[0]);
    while (left[0] - mmio_read(APIC_CURRENT) < 20000000)
        ;
    read_both(&ticks[1], &left[1]);
    mmio_write(APIC_INITIAL, 0);
    khz = (ticks[1] - ticks[0]) * 1000000 / (left[0] - left[1]);
    born_ticks = ticks[0];
    begin_kvmclock();
}

static uint64_t kvmclock_nsec(void) {
    uint64_t nsec, passed;
    uint32_t version;
    do {
        version = kvmclock.version;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        passed = clock_ticks() - kvmclock.ticks;
        passed = kvmclock.shift < 0 ? passed >> -kvmclock.shift : passed << kvmclock.shift;
        nsec = kvmclock.nsec + (uint64_t)((unsigned __int128)passed * kvmclock.multiplier >> 32);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    } while (version & 1 || version != kvmclock.version);
    return nsec;
}

/* On CPU 0 only, whose KVM's clock it is. */
uint64_t clock_uptime_usec(void) {
    uint64_t ticks = clock_ticks() - born_ticks;
    if (has_kvmclock)
        return kvmclock_nsec() / 1000;
    return ticks / khz * 1000 + ticks % khz * 1000 / khz;
}

uint64_t clock_realtime_usec(void) {
    return born_usec + clock_uptime_usec();
}

void clock_set(uint64_t realtime_usec, uint64_t uptime_usec) {
    born_usec = realtime_usec - uptime_usec;
}

/* ---- timers ---- */

static unsigned this_cpu(void) {
    return mmio_read(APIC_ID) >> 24;
}

static void arm(unsigned number) {
    uint64_t usec = number == 0 ? TICK_USEC : WATCH_USEC;
    if (cpus[number].by_deadline)
        write_msr(MSR_DEADLINE, clock_ticks() + usec * khz / 1000);
    else
        mmio_write(APIC_INITIAL, (uint32_t)(usec * 1000));
}

void timer_fired(void) {
    unsigned number = this_cpu();
    cpus[number].fired++;
    mmio_write(APIC_EOI, 0);
    arm(number);
}

static bool has_deadline(void) {
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c >> 24 & 1;
}

/* CPU 0 always has the APIC's own, so that both kinds are there. */
static void begin_timer(unsigned number) {
    Cpu *cpu = &cpus[number];
    cpu->by_deadline = number > 0 && has_deadline();
    mmio_write(APIC_SPURIOUS, 0x100 | VECTOR_SPURIOUS);
    mmio_write(APIC_DIVIDE, DIVIDE_BY_1);
    mmio_write(APIC_TIMER, VECTOR_TIMER | (cpu->by_deadline ? BY_DEADLINE : 0));
    __asm__ volatile("mfence" : : : "memory"); /* 11.5.4.1: before the MSR is written */
    arm(number);
}

/* ---- CPUs ---- */

static void set_gate(unsigned vector, const uint8_t *handler) {
    uintptr_t address = (uintptr_t)handler;
    gates[vector] = (Gate){.low = (uint16_t)address,
                           .segment = 8,
                           .kind = 0x8e00,
                           .middle = (uint16_t)(address >> 16)};
}

static void load_gates(void) {
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = {sizeof(gates) - 1, (uintptr_t)gates};

    __asm__ volatile("lidt %0" : : "m"(pointer));
}

/* FXSAVE's picture (volume 1, table 10-2): control words that no reset sets (rounding to zero), all
 * eight of the stack in use and normal numbers, all of SSE's, each CPU's its own. Nobody else here
 * uses any of them. */
static void fill_fpu(uint8_t *picture, unsigned number) {
    picture[1] = 0x0f; /* control word 0x0f7f */
    picture[0] = 0x7f;
    picture[4] = 0xff;  /* tags: none is empty */
    picture[25] = 0x7f; /* MXCSR 0x7f80 */
    picture[24] = 0x80;
    for (unsigned i = 32; i < 416; i++)
        picture[i] = (uint8_t)(i * 37 + number * 101);
    for (unsigned i = 32; i < 160; i += 16) {
        picture[i + 7] |= 0x80; /* the bit before the point */
        picture[i + 9] = 0x3f;
        memset(picture + i + 10, 0, 6);
    }
    load_fpu(picture);
}

void cpu_begin(unsigned number) {
    if (number == 0) {
        out8(0x21, 0xff); /* the 8259s' interrupts go nowhere */
        out8(0xa1, 0xff);
        for (unsigned i = 0; i < 32; i++)
            set_gate(i, exceptions + (size_t)16 * i);
        set_gate(VECTOR_TIMER, on_timer);
        set_gate(VECTOR_SPURIOUS, on_nothing);
        clock_begin();
    }
    load_gates();
    fill_fpu(cpus[number].fpu, number);
    begin_timer(number);
}

static void delay_usec(uint64_t usec) {
    uint64_t end = clock_uptime_usec() + usec;
    while (clock_uptime_usec() < end)
        __asm__ volatile("pause");
}

/* QEMU, docs/specs/fw_cfg.rst; FW_CFG_NB_CPUS is 5. */
unsigned cpu_count(void) {
    out16(0x510, 5);
    unsigned count = in8(0x511);
    count |= (unsigned)in8(0x511) << 8;
    return count < CPUS_MAX ? count : CPUS_MAX;
}

void cpu_start_others(void) {
    unsigned count = cpu_count();
    uint64_t end = clock_uptime_usec() + 60000000;
    memcpy((void *)(uintptr_t)TRAMPOLINE, trampoline, (size_t)(trampoline_end - trampoline));
    if (count > 1)
        mmio_write(APIC_COMMAND, TO_ALL_OTHERS | INIT);
    delay_usec(10000);
    if (count > 1)
        mmio_write(APIC_COMMAND, TO_ALL_OTHERS | STARTUP | TRAMPOLINE >> 12);
    while (cpus_started < count || (count > 1 && cpus[count - 1].turns == 0))
        if (clock_uptime_usec() > end)
            give_up("another CPU does not start");
}

static bool is_same(const uint8_t *a, const uint8_t *b, size_t from, size_t to) {
    return memcmp(a + from, b + from, to - from) == 0;
}

/* Between these bytes of FXSAVE's picture is where the last instruction was, which not every
 * accelerator keeps: control, status and tag words, MXCSR, and the registers. */
bool cpu_fpu_is_good(unsigned number) {
    uint8_t now[512] __attribute__((aligned(16))) = {0}; /* what is reserved stays as it is */
    const uint8_t *then = cpus[number].fpu;
    save_fpu(now);
    return is_same(now, then, 0, 5) && is_same(now, then, 24, 28) && is_same(now, then, 32, 416);
}

void cpu_wait(unsigned number, unsigned halt) {
    Cpu *cpu = &cpus[number];
    cpu->damage += watch_registers(halt);
    if (number > 0)
        cpu->damage += !cpu_fpu_is_good(number);
    cpu->latest = clock_ticks();
    cpu->turns++;
}
