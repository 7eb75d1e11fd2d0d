/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_OUTPUT_H
#define RAMET_CLI_OUTPUT_H

/* What the user sees. Answers go to standard output, everything else to standard error; with
 * --json standard output carries one document and nothing else. */

#include <stdbool.h>

#include "base/json.h"
#include "cli/args.h"

/* Prints one document. A failing write is an error (a full disk, a closed pipe). */
int output_json(const json_t *json, Error *error);

/* The document with --json, else `line`. */
int output_json_or_line(const Args *args, const json_t *json, const char *line, Error *error);

/* One line to standard output. */
int output_line(const char *text, Error *error);

/* Flushes standard output and tells what went wrong with it. */
int output_flush(Error *error);

/* "ramet: MESSAGE; try HINT" to standard error, cleaned of what could drive a terminal. */
void output_error(const Error *error);

/* "ramet: TEXT" to standard error. */
void output_note(const char *format, ...) PRINTF_LIKE(1, 2);

/* A line that a guest printed, to standard error, a little to the right. */
void output_guest_line(const char *line);

/* Copies text for a terminal: colours and UTF-8 stay, other control bytes go. *state carries an
 * unfinished sequence from piece to piece (0 at first). Returns the count written to `out`, which
 * has room for size + OUTPUT_FILTER_EXTRA. */
#define OUTPUT_FILTER_EXTRA 32
typedef struct OutputFilter {
    unsigned length;
    char pending[OUTPUT_FILTER_EXTRA]; /* an escape sequence so far */
} OutputFilter;
size_t output_filter(OutputFilter *filter, const char *data, size_t size, char *out);

/* Members as text for tables: strings as they are, numbers in digits, "-" for what is absent. The
 * caller owns it. */
char *output_member(const json_t *object, const char *key);
char *output_vm_state(const json_t *vm); /* for people: "unresponsive", "no room" */
char *output_member_size(const json_t *object, const char *key);

/* A digest cut to 12 digits; "3 minutes" since an RFC 3339 time. The caller owns them. */
char *output_member_digest(const json_t *object, const char *key);
char *output_member_age(const json_t *object, const char *key);

/* Can standard error show UTF-8? */
bool output_is_utf8(void);

#endif
