/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_ZYGOTE_PROTOCOL_H
#define RAMET_ZYGOTE_PROTOCOL_H

/* What is said to a zygote: a QEMU that stands still before its first line, and of which the others
 * are forked (docs/zygote.md). All are messages of SOCK_SEQPACKET sockets between programs of one
 * build.
 *
 *   zygote → daemon   ZygoteAnswer       once it can be forked
 *   daemon → zygote   path of the keeper, with two descriptors: its error output, its listener
 *   zygote → daemon   ZygoteAnswer, with the keeper's pidfd: it runs, with a QEMU-to-be for its
 *                     child
 *   child → keeper    a byte, ZYGOTE_REMAPS, with a userfaultfd of its memory where it could make
 *                     one
 *   keeper → child    ZygoteLaunch, then the descriptors, FD_PASS_MAX at a time, a byte each
 *   keeper → QEMU     ZygoteRemap, and ZYGOTE_REMAP_SIGNAL; any number of times
 *   QEMU → keeper     ZygoteRemapAnswer
 *
 * The child says nothing else: it becomes QEMU, or ends with the reason on its error output. */

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

/* Its only argument. QEMU has no such option: one that could not be stopped ends at once. */
#define ZYGOTE_OPTION "-ramet-zygote"
#define ZYGOTE_FD 3         /* of the daemon's socket */
#define ZYGOTE_LIBRARY_FD 4 /* of the library: LD_PRELOAD takes no path with a space or colon */

/* The keeper's arguments: --listen-fd 3 --qemu 4 PID. */
#define ZYGOTE_KEEPER_LISTENER_FD 3
#define ZYGOTE_KEEPER_QEMU_FD 4

typedef struct ZygoteAnswer {
    int32_t error; /* errno; 0 for none */
    int32_t pid;   /* of the keeper, whose pidfd comes with it; of itself in the first one */
    int32_t qemu;  /* of the keeper's child; 0 in the first one */
} ZygoteAnswer;

#define ZYGOTE_FDS_MAX 512
#define ZYGOTE_TEXT_MAX (128 * 1024)

/* What the child is to run as and with. */
typedef struct ZygoteLaunch {
    uint32_t uid, gid; /* as Plan's: 0 for its own */
    uint32_t kvm;      /* it opens /dev/kvm */
    uint32_t n_fds;    /* so many descriptors follow */
    uint32_t n_arguments;
    uint32_t text_size;                  /* bytes of text that are used */
    int32_t targets[ZYGOTE_FDS_MAX + 1]; /* their numbers in QEMU, in the order in which they come;
                                            the child adds its socket */
    char text[ZYGOTE_TEXT_MAX];          /* the arguments, each with its NUL */
} ZygoteLaunch;

/* Of a child that lays other memory under its guest when asked (remap.h). A library of an earlier
 * version says 0, and the signal would end it. */
#define ZYGOTE_REMAPS 1
#define ZYGOTE_REMAP_SIGNAL (SIGRTMIN + 7) /* QEMU has no use for any of these */
#define ZYGOTE_REPLACED_MAX 8

typedef enum ZygoteRemapStep {
    ZYGOTE_REMAP_MAP = 1, /* the file that comes with it, beside what is at address */
    ZYGOTE_REMAP_SWAP,    /* what is at address goes aside, what is beside comes there; the file */
    ZYGOTE_REMAP_DROP,    /* unmaps what is at address */
} ZygoteRemapStep;

typedef struct ZygoteRemap {
    uint32_t number; /* the answer has it, too */
    uint32_t step;
    uint64_t address, size; /* whole pages */
    uint64_t beside, aside;
    uint32_t n_replaced;
    int32_t replaced[ZYGOTE_REPLACED_MAX]; /* descriptors that become the file's */
} ZygoteRemap;

typedef struct ZygoteRemapAnswer {
    uint32_t number;
    int32_t error; /* errno; 0 for none. ENOTRECOVERABLE: the memory is in neither place */
    uint64_t beside, aside;
} ZygoteRemapAnswer;

#endif
