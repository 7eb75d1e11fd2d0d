/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_BENCH_H
#define RAMET_BENCH_BENCH_H

/* What all benches share. `ramet bench WHAT` runs the program ramet-bench, which is this folder: it
 * measures Ramet through its API, as a user would, beside the stock ways, in one run. */

#include "bench/sample.h"

typedef struct Bench {
    char *home;          /* owned */
    char *socket;        /* owned */
    const char *image;   /* borrowed; --image; NULL until bench_choose */
    const char *accel;   /* borrowed; --accel: "kvm" or "tcg"; NULL: the daemon's */
    const char *archive; /* borrowed; --archive; NULL: one is made */
    const char *parts;   /* borrowed; --parts: names with commas between; NULL: all */
    uint64_t memory_bytes;
    uint64_t written_bytes; /* --written: the most that prepared VMs write */
    size_t runs;
    size_t clones, idle_sec; /* --clones, --idle */
    int cancel_fd;           /* owned: readable once the user wants it to end; -1: none */
    BenchReport *report;     /* borrowed */
} Bench;

/* Asks the daemon. answer may be NULL. */
int bench_call(const Bench *bench, const char *method, const char *path, const json_t *body,
               json_t **answer, Error *error);

/* The same for what takes back what was made: it does not end when the user wants the rest to. */
int bench_undo(const Bench *bench, const char *method, const char *path, const json_t *body,
               Error *error);

/* Is the part one that --parts names? */
bool bench_wants(const Bench *bench, const char *part);

/* Does the user want it to end? Every call then fails with -ECANCELED. */
bool bench_cancelled(const Bench *bench);

/* accel.c: settles which image is measured, and under KVM which parts, where nobody said so; says
 * it in a note when an accelerator was asked for. ERROR_UNSUPPORTED: KVM was, and is not there. */
int bench_choose(Bench *bench, Error *error);

/* Makes and starts a VM of the bench's image from `options` ("cold", "memory_bytes" …; stolen), and
 * waits until it is ready. *vm is the caller's, *usec the time from the request to the answer (may
 * be NULL). */
int bench_vm_start(const Bench *bench, json_t *options, json_t **vm, uint64_t *usec, Error *error);
int bench_vm_remove(const Bench *bench, const json_t *vm, Error *error);

/* Creates `count` VMs that do not start, and appends them to the list. */
int bench_vms_create(const Bench *bench, const char *image, size_t count, json_t *vms,
                     Error *error);

/* Runs the command line client with the NULL-terminated arguments; *usec (may be NULL) is how long
 * it took. */
int bench_cli(const Bench *bench, const char *const *arguments, uint64_t *usec, Error *error);

/* A line of progress on a terminal's standard error. */
void bench_say(const char *format, ...) PRINTF_LIKE(1, 2);

/* The kinds of measurement: each adds its rows to the report. */
int bench_archives(Bench *bench, Error *error);
int bench_boot(Bench *bench, Error *error);
int bench_disk(Bench *bench, Error *error);
int bench_exec(Bench *bench, Error *error);
int bench_images(Bench *bench, Error *error);
int bench_recipe(Bench *bench, Error *error); /* a part of bench_images */
int bench_seed(Bench *bench, Error *error);
int bench_size(Bench *bench, Error *error);
int bench_fork(Bench *plain, Error *error);
int bench_density(Bench *bench, Error *error);
int bench_net(Bench *bench, Error *error);

#endif
