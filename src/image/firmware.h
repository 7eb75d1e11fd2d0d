/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_FIRMWARE_H
#define RAMET_IMAGE_FIRMWARE_H

/* Images that boot by their own boot loader. In rows their kernel_key, which for others names a
 * kernel bundle, is the word for the firmware that loads it: "bios" or "uefi". */

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"

#define FIRMWARE_BIOS "bios"
#define FIRMWARE_UEFI "uefi"

static inline bool firmware_is(const char *kernel_key) {
    return str_equal(kernel_key, FIRMWARE_BIOS) || str_equal(kernel_key, FIRMWARE_UEFI);
}

/* What a raw disk is to be booted by. wanted: "bios", "uefi" or "kernel"; NULL: what it has a
 * loader for, BIOS first. *firmware is one of the words, or "" for a kernel of ours. ERROR_USAGE:
 * another word; ERROR_UNSUPPORTED: the disk has no loader for that; ERROR_CORRUPT: its partition
 * table is damaged. */
int firmware_choose(const char *path, const char *wanted, const char **firmware, Error *error);

/* The word alone: ERROR_USAGE for another. */
int firmware_check_word(const char *wanted, Error *error);

#endif
