/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_BLANK_H
#define RAMET_FROZEN_BLANK_H

#include "base/error.h"
#include "home/home.h"
#include "qemu/features.h"

/* What a cold boot's memory lies over. *fd is the caller's: a published file when
 * QEMU has memory_rom, else a sealed memfd. *name is what inspect shows; the caller owns it. */
int blank_open(Home *home, const QemuFeatures *features, uint64_t bytes, int cancel_fd, int *fd,
               char **name, Error *error);

#endif
