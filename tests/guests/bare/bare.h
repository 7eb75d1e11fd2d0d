/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TESTS_BARE_H
#define RAMET_TESTS_BARE_H

/* The parts of the bare guest; README.md tells what it is. One program, no threads: CPU 0 runs the
 * agent, CPU 1 waits for its timer and watches its registers. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPUS_MAX 3u

/* entry.S */
extern const uint8_t trampoline[], trampoline_end[];
extern const uint8_t exceptions[], on_timer[], on_nothing[];
extern volatile uint32_t cpus_started;
unsigned watch_registers(unsigned halt);
void load_fpu(const uint8_t picture[512]); /* FXSAVE's; aligned to 16 bytes */
void save_fpu(uint8_t picture[512]);

/* c.c: what frame.c and tlv.c want of the C library is there, too. */
void say(const char *text); /* to the serial console */
void say_number(const char *before, uint64_t number, const char *after);
void __attribute__((noreturn)) die(uint64_t vector, uint64_t first, uint64_t second);
void __attribute__((noreturn)) give_up(const char *why);
char *add_text(char *at, const char *end, const char *text);
char *add_u64(char *at, const char *end, uint64_t number);
char *add_hex(char *at, const char *end, const void *bytes, size_t size);

/* cpu.c */
typedef struct Cpu {
    volatile uint64_t fired;  /* times that its timer did */
    volatile uint64_t damage; /* registers that were not as they were left */
    volatile uint64_t turns;  /* looks at them */
    volatile uint64_t latest; /* time stamp at the last of these */
    bool by_deadline;         /* its timer is the time stamp counter's, else the APIC's */
    uint8_t fpu[512] __attribute__((aligned(16))); /* what it was filled with */
} Cpu;

extern Cpu cpus[CPUS_MAX];

void cpu_begin(unsigned number); /* on each CPU: interrupts, registers, timer */
void cpu_start_others(void);     /* on CPU 0 */
unsigned cpu_count(void);        /* as the firmware's configuration says */
void cpu_wait(unsigned number, unsigned halt);
bool cpu_fpu_is_good(unsigned number); /* on that CPU */
void timer_fired(void);

void clock_begin(void);
uint64_t clock_ticks(void);
uint64_t clock_khz(void);
const char *clock_name(void); /* what tells the uptime */
uint64_t clock_uptime_usec(void);
uint64_t clock_realtime_usec(void);
void clock_set(uint64_t realtime_usec, uint64_t uptime_usec); /* it was that late at that uptime */

/* virtio.c: version 1 of virtio-mmio, as QEMU's microvm has it. Everything is polled. */
void virtio_begin(void);
void port_write(const void *data, size_t size);
/* What came, until the next call; 0: nothing. */
size_t port_read(const uint8_t **data);
bool disk_transfer(bool write, uint64_t sector, void *data); /* 512 bytes of the first disk */

/* agent.c */
void __attribute__((noreturn)) agent_run(void);
void __attribute__((noreturn)) end_machine(bool reboot);

typedef struct Self {
    char hostname[128], machine_id[64], boot_id[64];
    uint8_t mac[6], entropy[64], generation[16];
    uint64_t counter; /* greetings */
} Self;

extern Self self;

/* commands.c: writes what a command says into out, returns its exit status. */
#define COMMAND_OUT 8192u
#define COMMAND_ARGS 64u
int command_run(size_t n_args, char *const *args, char *out, size_t room);
void command_frozen(void); /* notes what a clone must find */

static inline void out8(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "d"(port));
}

static inline uint8_t in8(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "d"(port));
    return value;
}

static inline void out16(uint16_t port, uint16_t value) {
    __asm__ volatile("outw %0, %1" : : "a"(value), "d"(port));
}

static inline uint32_t mmio_read(uintptr_t address) {
    return *(const volatile uint32_t *)address;
}

static inline void mmio_write(uintptr_t address, uint32_t value) {
    *(volatile uint32_t *)address = value;
}

#endif
