/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_QCOW2_H
#define RAMET_DISK_QCOW2_H

/* Reads headers of qcow2 files from anywhere (docs/interop/qcow2.txt in QEMU). Every byte is taken
 * as hostile: nothing is believed without a bound. */

#include <stdbool.h>

#include "base/error.h"

#define QCOW2_MAGIC 0x514649fbU /* "QFI\xfb" */
#define QCOW2_NAME_MAX 1023

typedef struct Qcow2Info {
    uint32_t version; /* 2 or 3 */
    uint32_t cluster_bits;
    uint64_t virtual_bytes;
    char *backing_path;   /* owned; NULL: none. As the file says it, unchecked */
    char *backing_format; /* owned; NULL: not said */
    char *data_file;      /* owned; NULL: not said */
    bool has_data_file;   /* guest data is in another file */
    bool encrypted;
    bool dirty;   /* refcounts may be wrong: it was not closed cleanly */
    bool corrupt; /* marked as corrupt by QEMU */
    bool extended_l2;
    uint32_t snapshots; /* internal ones */
} Qcow2Info;

/* Reads from offset 0 of fd. ERROR_CORRUPT for anything that QEMU would not open either, and for
 * unknown incompatible features (ERROR_UNSUPPORTED). */
int qcow2_read_info(int fd, Qcow2Info *info, Error *error);

/* The same from memory that holds the beginning of the file (at least 64 KiB, or all of it). */
int qcow2_parse_info(const void *data, size_t size, Qcow2Info *info, Error *error);

void qcow2_info_free(Qcow2Info *info);
#define _cleanup_qcow2_info_ _cleanup_(qcow2_info_free)

#endif
