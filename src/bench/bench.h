/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_BENCH_H
#define RAMET_BENCH_BENCH_H

/* What all benches share. `ramet bench WHAT` runs the program ramet-bench, which is this folder: it
 * measures Ramet through its API, as a user would, beside the stock ways, in one run. */

#include "bench/sample.h"

typedef struct Bench {
    char *home;          /* owned */
    char *socket;        /* owned */
    const char *image;   /* borrowed; --image */
    const char *archive; /* borrowed; --archive; NULL: one is made */
    const char *svg;     /* borrowed; --svg: where to draw the stages; NULL: nowhere */
    uint64_t memory_bytes;
    size_t runs;
    int cancel_fd;       /* owned: readable once the user wants it to end; -1: none */
    BenchReport *report; /* borrowed */
} Bench;

/* Asks the daemon. answer may be NULL. */
int bench_call(const Bench *bench, const char *method, const char *path, const json_t *body,
               json_t **answer, Error *error);

/* The same for what takes back what was made: it does not end when the user wants the rest to. */
int bench_undo(const Bench *bench, const char *method, const char *path, const json_t *body,
               Error *error);

/* Does the user want it to end? Every call then fails with -ECANCELED. */
bool bench_cancelled(const Bench *bench);

/* Makes and starts a VM of the bench's image from `options` ("cold", "memory_bytes" …; stolen), and
 * waits until it is ready. *vm is the caller's, *usec the time from the request to the answer (may
 * be NULL). */
int bench_vm_start(const Bench *bench, json_t *options, json_t **vm, uint64_t *usec, Error *error);
int bench_vm_remove(const Bench *bench, const json_t *vm, Error *error);

/* Creates `count` VMs that do not start, and appends them to the list. */
int bench_vms_create(const Bench *bench, const char *image, size_t count, json_t *vms,
                     Error *error);

/* Runs the command line client with the NULL-terminated arguments; *usec is how long it took. */
int bench_cli(const Bench *bench, const char *const *arguments, uint64_t *usec, Error *error);

/* A line of progress on a terminal's standard error. */
void bench_say(const char *format, ...) PRINTF_LIKE(1, 2);

/* The kinds of measurement: each adds its rows to the report. */
int bench_boot(Bench *bench, Error *error);
int bench_disk(Bench *bench, Error *error);
int bench_exec(Bench *bench, Error *error);
int bench_size(Bench *bench, Error *error);
int bench_fork(Bench *plain, Error *error);

#endif
