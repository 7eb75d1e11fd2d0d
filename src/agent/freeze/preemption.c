/* SPDX-License-Identifier: Apache-2.0 */
/* Restartable sequences (rseq(2); Linux, include/uapi/linux/rseq.h): a thread tells the kernel
 * where it keeps a pointer to the sequence that it is in. When it gets the CPU back after others
 * had it and is not within that sequence, the kernel clears the pointer. So a pointer to a sequence
 * in which nobody ever is goes with the first switch to anybody else. */

#include "agent/freeze/preemption.h"

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SIGNATURE 0x52414d45u

typedef struct Area {
    uint32_t cpu_id_start;
    uint32_t cpu_id;
    uint64_t sequence; /* address of a Sequence; cleared by the kernel */
    uint32_t flags;
    uint32_t padding[3];
} __attribute__((aligned(32))) Area;

typedef struct Sequence {
    uint32_t version, flags;
    uint64_t start, length, abort;
} __attribute__((aligned(32))) Sequence;

/* The kernel wants the signature right before the address to go on at, and never goes there. */
static const struct { uint32_t signature, target; } nowhere = {.signature = SIGNATURE};

static volatile Area area = {.cpu_id = (uint32_t)-1};
static Sequence sequence;
static bool registered;

bool preemption_open(void) {
    if (registered)
        return true;
    /* One byte of data, which is no code. */
    sequence =
        (Sequence){.start = (uintptr_t)&sequence, .length = 1, .abort = (uintptr_t)&nowhere.target};
    registered = syscall(SYS_rseq, &area, (uint32_t)sizeof(area), 0, SIGNATURE) == 0;
    return registered;
}

void preemption_arm(void) {
    area.sequence = registered ? (uintptr_t)&sequence : 0;
}

bool preemption_happened(void) {
    return registered && area.sequence == 0;
}
