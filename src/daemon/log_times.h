/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_LOG_TIMES_H
#define RAMET_DAEMON_LOG_TIMES_H

/* When a console log's lines came: reading what the keeper notes beside it (proto/log_times.h).
 * The folder belongs to the VM's user, so what stands there is not trusted: at worst the wrong line
 * comes first. */

#include <stdint.h>

/* Where in an open log of the VM's folder the first line begins that something was added to at or
 * after that time: its end when there is none, 0 when all are as new (then those of an older log
 * may be, too). -ENODATA: nobody noted the times of a part of it that may be as new. */
int log_times_find(int folder_fd, int log_fd, uint64_t since_usec, uint64_t *offset);

#endif
