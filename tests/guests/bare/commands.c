/* SPDX-License-Identifier: Apache-2.0 */
/* What `ramet exec` runs here. There are no programs; README.md has the list of words that mean
 * something, and all others are echoed. `ramet prove` asks its questions in shell scripts; those
 * and the bench's are known by what is in them. */

#include <cpuid.h>
#include <string.h>

#include "bare.h"

#define MARK_SECTOR 8u
#define AREA ((volatile uint64_t *)0x1000000u) /* 16 MiB: memory that nothing else is in */
#define MIB (1024u * 1024u)
#define AREA_MIB_MAX 128u
#define PAGE 4096u
#define WAIT_USEC 60000000u

typedef struct Out {
    char *at, *end;
} Out;

static void put(Out *out, const char *text) {
    out->at = add_text(out->at, out->end, text);
}

static void put_number(Out *out, const char *name, uint64_t number) {
    put(out, name);
    out->at = add_u64(out->at, out->end, number);
    put(out, "\n");
}

static void put_text(Out *out, const char *name, const char *text) {
    put(out, name);
    put(out, text);
    put(out, "\n");
}

static void put_hex(Out *out, const char *name, const void *bytes, size_t size) {
    put(out, name);
    out->at = add_hex(out->at, out->end, bytes, size);
    put(out, "\n");
}

static uint64_t to_number(const char *text) {
    uint64_t number = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        number = number * 10 + (uint64_t)(*text - '0');
    return number;
}

/* ---- check: what a clone must find as it was, and going on ---- */

/* As it was when the guest was frozen; zeroes in one that never was. */
static struct { uint64_t ticks, uptime_usec, fired[CPUS_MAX], turns[CPUS_MAX]; } then;

void command_frozen(void) {
    then.ticks = clock_ticks();
    then.uptime_usec = clock_uptime_usec();
    for (unsigned i = 0; i < CPUS_MAX; i++) {
        then.fired[i] = cpus[i].fired;
        then.turns[i] = cpus[i].turns;
    }
}

/* Waits until a CPU's timer has fired again and it has looked at its registers after that. */
static bool goes_on(unsigned number) {
    uint64_t fired = cpus[number].fired, turns = cpus[number].turns;
    uint64_t end = clock_uptime_usec() + WAIT_USEC;
    while (cpus[number].fired == fired || cpus[number].turns == turns) {
        cpu_wait(0, 1);
        if (clock_uptime_usec() > end)
            return false;
    }
    return cpus[number].fired > then.fired[number] && cpus[number].turns > then.turns[number];
}

/* How far another CPU's time stamp lies outside of two of this one. */
static uint64_t skew_usec(unsigned number) {
    uint64_t turns = cpus[number].turns, before = clock_ticks(), latest, after, off = 0;
    while (cpus[number].turns == turns)
        cpu_wait(0, 0);
    latest = cpus[number].latest;
    after = clock_ticks();
    if (latest < before)
        off = before - latest;
    else if (latest > after)
        off = latest - after;
    return off * 1000 / clock_khz();
}

static int check_cpu(unsigned number, Out *out) {
    const Cpu *cpu = &cpus[number];
    bool alive = goes_on(number), fpu = number > 0 || cpu_fpu_is_good(0);
    put_number(out, "cpu=", number);
    put_text(out, "timer=", cpu->by_deadline ? "deadline" : "apic");
    put_text(out, "goes_on=", alive ? "yes" : "no");
    put_number(out, "fired=", cpu->fired);
    put_number(out, "damaged_registers=", cpu->damage);
    put_text(out, "fpu=", fpu ? "ok" : "damaged");
    put_number(out, "skew_us=", number > 0 && alive ? skew_usec(number) : 0);
    return alive && fpu && cpu->damage == 0 ? 0 : 1;
}

static void put_hypervisor(Out *out) {
    unsigned highest;
    char name[13] = {0};
    __cpuid(0x40000000u, highest, *(unsigned *)name, *(unsigned *)(name + 4),
            *(unsigned *)(name + 8));
    put_text(out, "hypervisor=", name);
}

static int check(Out *out) {
    unsigned count = cpu_count();
    bool time = clock_ticks() > then.ticks && clock_uptime_usec() > then.uptime_usec;
    int status = time ? 0 : 1;
    put_hypervisor(out);
    put_number(out, "cpus=", count);
    put_number(out, "greetings=", self.counter);
    put_number(out, "tsc_khz=", clock_khz());
    put_text(out, "clock=", clock_name());
    put_text(out, "time=", time ? "goes on" : "went back");
    put_number(out, "frozen_uptime_us=", then.uptime_usec);
    put_number(out, "uptime_us=", clock_uptime_usec());
    for (unsigned i = 0; i < count; i++)
        status |= check_cpu(i, out);
    return status;
}

/* ---- marks: in memory and on the disk ---- */

static char mark[512];

static int write_mark(const char *text, size_t size) {
    char sector[512] = {0};
    if (size >= sizeof(mark))
        return 1;
    memset(mark, 0, sizeof(mark));
    memcpy(mark, text, size);
    memcpy(sector, mark, sizeof(sector));
    return disk_transfer(true, MARK_SECTOR, sector) ? 0 : 1;
}

static int read_mark(Out *out) {
    char sector[512];
    if (!disk_transfer(false, MARK_SECTOR, sector))
        return 1;
    sector[sizeof(sector) - 1] = '\0';
    put(out, mark);
    put(out, " ");
    put(out, sector);
    put(out, "\n");
    return 0;
}

/* Every page differs from each other, and so do those of another fill, at both ends of it: where
 * KVM interprets the guest, to write all of it takes a minute. */
static int fill_pages(uint64_t pages, uint64_t seed) {
    if (pages > AREA_MIB_MAX * MIB / PAGE)
        return 1;
    for (uint64_t i = 0; i < pages * PAGE / 8; i += 512)
        AREA[i] = AREA[i + 511] = (seed << 32 | i) * 0x9e3779b97f4a7c15u | 1;
    return 0;
}

static int fill(uint64_t mib, uint64_t seed) {
    return mib > AREA_MIB_MAX ? 1 : fill_pages(mib * MIB / PAGE, seed);
}

static bool is_filled(uint64_t mib, uint64_t seed) {
    if (mib > AREA_MIB_MAX)
        return false;
    for (uint64_t i = 0; i < mib * MIB / 8; i += 512)
        if (AREA[i] != ((seed << 32 | i) * 0x9e3779b97f4a7c15u | 1) || AREA[i + 511] != AREA[i])
            return false;
    return true;
}

/* ---- scripts of Ramet's own ---- */

static int answer_who(Out *out) {
    uint64_t centiseconds = clock_uptime_usec() / 10000;
    put_hex(out, "random=", self.entropy, 16);
    put_hex(out, "uuid=", self.entropy + 16, 16);
    put_text(out, "machine_id=", self.machine_id);
    put_text(out, "hostname=", self.hostname);
    put_text(out, "boot_id=", self.boot_id);
    put_hex(out, "generation=", self.generation, sizeof(self.generation));
    put_hex(out, "mac=", self.mac, sizeof(self.mac));
    put(out, "uptime=");
    out->at = add_u64(out->at, out->end, centiseconds / 100);
    put(out, centiseconds % 100 < 10 ? ".0" : ".");
    put_number(out, "", centiseconds % 100);
    return 0;
}

/* What the bench has a clone write, other bytes each time. */
static int write_random(uint64_t bytes) {
    return bytes > (uint64_t)AREA_MIB_MAX * MIB
               ? 1
               : fill_pages((bytes + PAGE - 1) / PAGE, clock_ticks());
}

static int run_script(const char *script, Out *out) {
    static const char random[] = "head -c ";
    const char *text = strstr(script, "echo ");
    if (strstr(script, "echo random="))
        return answer_who(out);
    if (text && strstr(script, ">/var/lib/ramet-prove;")) {
        size_t size = 0;
        for (text += strlen("echo "); text[size] && text[size] != ' ';)
            size++;
        return write_mark(text, size);
    }
    if (text && strstr(script, "cat /dev/shm/ramet-prove"))
        return read_mark(out);
    if (strstr(script, "[ -d /run/systemd/system ] || exit 0")) /* the boot cache's question */
        return 0;
    if (strstr(script, random) == script && strstr(script, " /dev/urandom >/dev/shm/"))
        return write_random(to_number(script + sizeof(random) - 1));
    put(out, "the bare guest has no shell\n");
    return 127;
}

/* ---- words ---- */

static int echo(size_t n_args, char *const *args, Out *out) {
    for (size_t i = 0; i < n_args; i++) {
        put(out, i == 0 ? "" : " ");
        put(out, args[i]);
    }
    put(out, "\n");
    return 0;
}

int command_run(size_t n_args, char *const *args, char *text, size_t room) {
    Out out = {.at = text, .end = text + room};
    const char *name = n_args > 0 ? args[0] : "";
    uint64_t number[2] = {0};
    text[0] = '\0';
    for (size_t i = 0; i < 2 && i + 1 < n_args; i++)
        number[i] = to_number(args[i + 1]);
    if (strcmp(name, "true") == 0)
        return 0;
    if (strcmp(name, "false") == 0)
        return 1;
    if (strcmp(name, "reset") == 0 || strcmp(name, "poweroff") == 0)
        end_machine(name[0] == 'r');
    if (strcmp(name, "check") == 0)
        return check(&out);
    if (strcmp(name, "fill") == 0)
        return fill(number[0], number[1]);
    if (strcmp(name, "filled") == 0)
        return is_filled(number[0], number[1]) ? 0 : 1;
    if (strcmp(name, "write") == 0 && n_args == 2)
        return write_mark(args[1], strlen(args[1]));
    if (strcmp(name, "read") == 0)
        return read_mark(&out);
    if (n_args == 3 && strcmp(args[1], "-c") == 0)
        return run_script(args[2], &out);
    return echo(n_args, args, &out);
}
