/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_BOOT_FILES_H
#define RAMET_BENCH_BOOT_FILES_H

/* What plain QEMU needs to boot the bench's image as Ramet does. */

#include "bench/bench.h"
#include "bench/stock/plain_qemu.h"
#include "image/kernel.h"

typedef struct BootFiles {
    KernelBundle kernel;
    char *initrd; /* owned */
    char *base;   /* owned */
    char *qemu;   /* owned */
    char accel[8];
    const char *cmdline; /* borrowed: the kernel's; NULL: plain QEMU's */
} BootFiles;

/* vm: one that Ramet started, for its accelerator. */
int boot_files_find(const Bench *bench, const json_t *vm, BootFiles *files, Error *error);
void boot_files_free(BootFiles *files);

/* Calls run with a fresh overlay over the image, which is removed afterwards. */
typedef int (*PlainRun)(const PlainBoot *boot, void *data, Error *error);
int boot_files_with_disk(const Bench *bench, const BootFiles *files, PlainRun run, void *data,
                         Error *error);

#endif
