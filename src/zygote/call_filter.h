/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_ZYGOTE_CALL_FILTER_H
#define RAMET_ZYGOTE_CALL_FILTER_H

/* The system call filter of a program that reads what guests send, loaded once it has dropped its
 * privileges (zygote/privileges.h), or set no_new_privs at least. */

#include <seccomp.h>
#include <stddef.h>

#include "base/error.h"

/* From now on only these calls are let through, with those that get memory that is never
 * executable, and what add_rules allows of others; any other ends the process. add_rules returns 0
 * or a negative errno. In builds with sanitizers, whose runtime makes calls of its own, nothing is
 * filtered. */
int call_filter_load(const int *allowed, size_t count, int (*add_rules)(scmp_filter_ctx context),
                     Error *error);

#endif
