/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_JSON_H
#define RAMET_BASE_JSON_H

/* jansson with cleanup, bounds and errors. */

#include <jansson.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json_bytes.h"

/* Parses one document; text need not end with NUL. Duplicate keys and deep nesting are refused.
 * ERROR_USAGE with line and column on failure. `what` names the thing for the message. */
int json_parse(const char *what, const char *text, size_t size, json_t **json, Error *error);

/* Required members: ERROR_USAGE "WHAT lacks KEY" or "KEY of WHAT is not a string". The string is
 * borrowed from the object. */
int json_get_string(const char *what, const json_t *object, const char *key, const char **value,
                    Error *error);
int json_get_u64(const char *what, const json_t *object, const char *key, uint64_t *value,
                 Error *error);

/* Optional members: absent or null leaves *value as it is; a wrong type is ERROR_USAGE. */
int json_opt_string(const char *what, const json_t *object, const char *key, const char **value,
                    Error *error);
int json_opt_u64(const char *what, const json_t *object, const char *key, uint64_t *value,
                 Error *error);
int json_opt_bool(const char *what, const json_t *object, const char *key, bool *value,
                  Error *error);

/* {"error":{"code","message","hint"}}, the hint "" where there is none, and back. from returns 0
 * when there was an error object. */
json_t *json_from_error(const Error *error);
int json_to_error(const json_t *object, Error *error);

/* [{"name","start_us","duration_us"}] and back (bounded by STAGES_MAX; hostile input refused). */
json_t *json_from_stages(const Stages *stages);
int json_to_stages(const json_t *array, Stages *stages);

/* Compact text; caller frees. */
char *json_to_text(const json_t *json);

/* Takes the new value over, which may be NULL, in the place of the old one. */
void json_replace(json_t **json, json_t *with);

#endif
