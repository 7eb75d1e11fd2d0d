/* SPDX-License-Identifier: Apache-2.0 */
/* How it works. A library calls getpid through a word in its own data (the global offset table),
 * which holds the function's address. In a clone the word gets the address of another function of
 * the C library, which takes no argument either and returns a number that stays the same while the
 * process lives: getppid, and in a clone of that clone getuid, and then getpid again. OpenSSL
 * compares the number with the last one (openssl_get_fork_id, drbg->fork_id), and reseeds.
 *
 * No symbols are needed. The three functions are known by their code, which is the bare system
 * call: b8 NUMBER 0f 05 c3, mov $NUMBER,%eax; syscall; ret, with or without an endbr64 before it.
 * The word is one in the library's data that has the address of that very code. Whatever does not
 * look like this is left alone. All that is read is the process's own memory, which may say
 * anything: everything is bounded, and what is written goes into that process and nowhere else, and
 * is one of three addresses that were checked to hold such code. */

#include "agent/identity/reseed.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "agent/base/util.h"

#define TARGETS_MAX 128
#define MAPS_MAX 8192 /* lines that are looked at */
#define SCAN_MAX (8u << 20)
#define CHUNK 65536u
#define OVERLAP 16u /* STUB_BYTES + ENDBR_BYTES, and a multiple of a word's size */
#define STUB_BYTES 8u
#define ENDBR_BYTES 4u
#define STUBS 3

static const uint8_t calls[STUBS] = {SYS_getpid, SYS_getppid, SYS_getuid};
static const uint8_t endbr[ENDBR_BYTES] = {0xf3, 0x0f, 0x1e, 0xfa};

typedef struct Target {
    int mem_fd;       /* owned: /proc/PID/mem */
    uint64_t word;    /* its address */
    uint64_t address; /* what it gets */
} Target;

static Target targets[TARGETS_MAX];
static size_t n_targets;

/* A mapping of one of the two libraries. */
typedef struct Range {
    uint64_t start, end;
    bool code;
} Range;

#define RANGES_MAX 16

typedef struct Ranges {
    Range list[RANGES_MAX];
    size_t n;
} Ranges;

typedef struct Process {
    int mem_fd;
    Ranges crypto, libc;
    uint64_t stubs[STUBS];
} Process;

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static void add_range(Ranges *ranges, uint64_t start, uint64_t end, bool code) {
    if (ranges->n < RANGES_MAX && end > start)
        ranges->list[ranges->n++] = (Range){.start = start, .end = end, .code = code};
}

/* "7f12a000-7f12c000 r-xp 00026000 fe:00 1234    /usr/lib/…/libcrypto.so.3" (proc(5)) */
static void parse_map_line(Process *process, const char *line) {
    unsigned long long start, end;
    char rights[5], path[512];
    if (sscanf(line, "%llx-%llx %4s %*x %*s %*u %511[^\n]", &start, &end, rights, path) != 4 ||
        rights[0] != 'r')
        return;
    const char *name = base_name(path);
    bool code = rights[2] == 'x';
    if (starts(name, "libcrypto.so"))
        add_range(&process->crypto, start, end, code);
    else if (starts(name, "libc.so") || starts(name, "libc-2.") || starts(name, "ld-musl-"))
        add_range(&process->libc, start, end, code);
}

static FILE *open_maps(const char *proc, const char *pid) {
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/%s/maps", proc, pid);
    return fopen(path, "re");
}

static bool read_maps(const char *proc, const char *pid, Process *process) {
    FILE *file = open_maps(proc, pid);
    char line[1024];
    for (size_t i = 0; file && i < MAPS_MAX && fgets(line, sizeof(line), file); i++)
        parse_map_line(process, line);
    if (file)
        (void)fclose(file);
    return process->crypto.n > 0 && process->libc.n > 0;
}

/* ---- scanning memory ---- */

typedef bool (*Match)(void *data, uint64_t address, const uint8_t *bytes, size_t size);

/* Hands out pieces, each aligned, that overlap by more than a function's code, until one says that
 * it is enough. */
static bool scan(int fd, const Range *range, Match match, void *data) {
    static uint8_t chunk[CHUNK];
    for (uint64_t at = range->start; at < range->end && at - range->start < SCAN_MAX;
         at += CHUNK - OVERLAP) {
        size_t size = MIN_OF((uint64_t)CHUNK, range->end - at);
        ssize_t n = pread(fd, chunk, size, (off_t)at);
        if (n <= 0)
            return false;
        if (match(data, at, chunk, (size_t)n))
            return true;
        if (size < CHUNK)
            return false;
    }
    return false;
}

/* Where the function begins whose code is at `found` in the piece; 0: it is no function's. */
static uint64_t entry_of(uint64_t address, const uint8_t *bytes, size_t found) {
    uint64_t entry = address + found;
    if (found >= ENDBR_BYTES && memcmp(bytes + found - ENDBR_BYTES, endbr, ENDBR_BYTES) == 0)
        entry -= ENDBR_BYTES;
    return entry % 16 == 0 ? entry : 0;
}

static bool match_stubs(void *data, uint64_t address, const uint8_t *bytes, size_t size) {
    Process *process = data;
    bool all = true;
    for (size_t i = 0; i < STUBS; i++) {
        const uint8_t stub[STUB_BYTES] = {0xb8, calls[i], 0, 0, 0, 0x0f, 0x05, 0xc3};
        const uint8_t *at = bytes;
        while (!process->stubs[i] &&
               (at = memmem(at, size - (size_t)(at - bytes), stub, sizeof(stub)))) {
            process->stubs[i] = entry_of(address, bytes, (size_t)(at - bytes));
            at++;
        }
        all &= process->stubs[i] != 0;
    }
    return all;
}

static bool find_stubs(Process *process) {
    for (size_t i = 0; i < process->libc.n; i++)
        if (process->libc.list[i].code &&
            scan(process->mem_fd, &process->libc.list[i], match_stubs, process))
            return true;
    return false;
}

static void add_target(const Process *process, uint64_t word, size_t stub) {
    int fd = n_targets < TARGETS_MAX ? fcntl(process->mem_fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (fd >= 0)
        targets[n_targets++] =
            (Target){.mem_fd = fd, .word = word, .address = process->stubs[(stub + 1) % STUBS]};
}

/* All of them: a library may have more than one such word. */
static bool match_words(void *data, uint64_t address, const uint8_t *bytes, size_t size) {
    const Process *process = data;
    for (size_t i = 0; i + sizeof(uint64_t) <= size; i += sizeof(uint64_t)) {
        uint64_t value;
        memcpy(&value, bytes + i, sizeof(value));
        for (size_t stub = 0; value != 0 && stub < STUBS; stub++)
            if (value == process->stubs[stub])
                add_target(process, address + i, stub);
    }
    return false;
}

/* ---- all processes ---- */

static void scan_process(const char *proc, const char *pid) {
    Process process = {.mem_fd = -1};
    char path[512];
    if (!read_maps(proc, pid, &process))
        return;
    (void)snprintf(path, sizeof(path), "%s/%s/mem", proc, pid);
    _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
    process.mem_fd = fd;
    if (fd < 0 || !find_stubs(&process))
        return;
    for (size_t i = 0; i < process.crypto.n; i++)
        if (!process.crypto.list[i].code)
            (void)scan(fd, &process.crypto.list[i], match_words, &process);
}

size_t reseed_prepare(const char *proc) {
    DIR *folder = opendir(proc);
    reseed_forget();
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            scan_process(proc, entry->d_name);
    if (folder)
        (void)closedir(folder);
    return n_targets;
}

void reseed_apply(void) {
    for (size_t i = 0; i < n_targets; i++)
        (void)!pwrite(targets[i].mem_fd, &targets[i].address, sizeof(targets[i].address),
                      (off_t)targets[i].word);
}

void reseed_forget(void) {
    while (n_targets > 0)
        close_fd(&targets[--n_targets].mem_fd);
}
