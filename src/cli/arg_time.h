/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_ARG_TIME_H
#define RAMET_CLI_ARG_TIME_H

#include "base/error.h"

/* RFC 3339, or how long ago (10m, 1h30m). *realtime_usec (may be NULL) is in microseconds since
 * 1970. ERROR_USAGE. */
int time_parse(const char *text, uint64_t *realtime_usec, Error *error);

/* How long: 90s, 1h30m, 7d; 0 without a unit, too. In microseconds. ERROR_USAGE. */
int duration_parse(const char *text, uint64_t *usec, Error *error);

#endif
