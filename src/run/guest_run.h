/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_GUEST_RUN_H
#define RAMET_RUN_GUEST_RUN_H

#include "base/error.h"
#include "base/str.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/vms.h"

#define GUEST_OUTPUT_MAX 2048u

/* What a command prints, on both of its outputs. */
typedef struct GuestOutput {
    StrBuf last; /* owned: the last GUEST_OUTPUT_MAX bytes */
    void (*on_bytes)(void *data, const char *bytes, size_t size); /* as they come; may be NULL */
    void *data;                                                   /* borrowed, for on_bytes */
} GuestOutput;

/* Runs a command, with the VM's own variables, in a VM whose keeper says that it runs, and waits
 * for its end. output (may be NULL) gets what it prints, also when it does not end in time
 * (ERROR_TIMEOUT; ERROR_NO_SPACE: guest_wait.h). */
int guest_run(Home *home, Operation *operation, const VmRow *row, const char *const *argv,
              uint64_t timeout_usec, int *exit_status, GuestOutput *output, Error *error);

#endif
