/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_GUEST_COPY_H
#define RAMET_RUN_GUEST_COPY_H

#include "base/error.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/vms.h"

typedef struct GuestCopy {
    const char *path; /* borrowed: where it goes in the guest */
    uint64_t flags;   /* CopyFlags of proto/agent.h */
    int fd;           /* borrowed: a file that has the archive */
    uint64_t offset, bytes;
} GuestCopy;

/* Unpacks a tar archive in a VM whose keeper says that it runs, as a `ramet cp` into it does. What
 * the guest says against it is the error; ERROR_TIMEOUT, ERROR_NO_SPACE: guest_wait.h. */
int guest_copy_in(Home *home, Operation *operation, const VmRow *row, const GuestCopy *copy,
                  uint64_t timeout_usec, Error *error);

#endif
