/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_ZYGOTE_H
#define RAMET_PROTO_ZYGOTE_H

/* What is said to a zygote: a QEMU that stands still before its first line, and of which the others
 * are forked (docs/zygote.md). All are messages of SOCK_SEQPACKET sockets between programs of one
 * build.
 *
 *   zygote → daemon   ZygoteAnswer       once it can be forked
 *   daemon → zygote   path of the keeper, with two descriptors: its error output, its listener
 *   zygote → daemon   ZygoteAnswer       a keeper runs, with a QEMU-to-be for its child
 *   keeper → child    ZygoteLaunch, then the descriptors, FD_PASS_MAX at a time with one byte each
 *
 * The child says nothing: it becomes QEMU, or ends with the reason on its error output. */

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
    int32_t pid;   /* of the keeper; of itself in the first one */
} ZygoteAnswer;

#define ZYGOTE_FDS_MAX 512
#define ZYGOTE_TEXT_MAX (128 * 1024)

/* What the child is to run as and with. */
typedef struct ZygoteLaunch {
    uint32_t uid, gid; /* as Plan's: 0 for its own */
    uint32_t n_fds;    /* so many descriptors follow */
    uint32_t n_arguments;
    uint32_t text_size;              /* bytes of text that are used */
    int32_t targets[ZYGOTE_FDS_MAX]; /* their numbers in QEMU, in the order in which they come */
    char text[ZYGOTE_TEXT_MAX];      /* the arguments, each with its NUL */
} ZygoteLaunch;

#endif
