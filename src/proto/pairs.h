/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_PAIRS_H
#define RAMET_PROTO_PAIRS_H

/* Options of the form NAME=VALUE,NAME=VALUE. */

#include "base/error.h"

/* What one of them is for; value: empty when there is no "=". An error ends the parsing. */
typedef int (*PairHandler)(void *data, const char *name, const char *value, Error *error);

/* Hands over each pair of the text, in order; data: for the handler. 0, or the handler's error. */
int pairs_parse(const char *text, PairHandler handler, void *data, Error *error);

#endif
