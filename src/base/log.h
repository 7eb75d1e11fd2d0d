/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_LOG_H
#define RAMET_BASE_LOG_H

/* Logging to standard error, one line a message, each written with one write(2), so that lines of
 * several threads do not mix. When standard error is the journal ($JOURNAL_STREAM), lines carry
 * the "<N>" priority prefix of sd-daemon(3) instead of a time. A failing write is ignored: a full
 * disk must never end the program through its logger.
 *
 * Library code logs at debug only; programs log what their operator must know. */

#include "base/util.h"

typedef enum { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG } LogLevel;

/* Sets the program's name (borrowed, must stay valid) and the level; the environment variable
 * RAMET_LOG (error, warning, info, debug) overrides the level. */
void log_init(const char *program, LogLevel level);

/* One line to standard error, when the level is shown. */
void log_message(LogLevel level, const char *format, ...) PRINTF_LIKE(2, 3);

#define log_error(...) log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
