/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_GUEST_RUN_H
#define RAMET_RUN_GUEST_RUN_H

#include "base/error.h"
#include "base/str.h"
#include "home/home.h"
#include "store/vms.h"

/* Runs a command, with the VM's own variables, in a VM whose keeper says that it runs, and waits
 * for its end. output (may be NULL) gets the last GUEST_OUTPUT_MAX bytes of what it prints, also
 * when it does not end in time (ERROR_TIMEOUT). */
#define GUEST_OUTPUT_MAX 2048u
int guest_run(Home *home, const VmRow *row, const char *const *argv, uint64_t timeout_usec,
              int cancel_fd, int *exit_status, StrBuf *output, Error *error);

#endif
