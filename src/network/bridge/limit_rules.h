/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_LIMIT_RULES_H
#define RAMET_NETWORK_BRIDGE_LIMIT_RULES_H

/* Limits of cards on a bridge, as text for nft(8): what is beyond its card's rate is dropped. Each
 * is an object of the table of family bridge (rules.h) with an element in a map that leads to it.
 */

#include "base/str.h"
#include "proto/net_limit.h"

/* Adds or removes those of a TAP device. A removal may be of what is not there. `connections` is
 * nobody's here. */
void limit_rules_add(const char *table, const char *tap, const NetLimit *limit, StrBuf *text);
void limit_rules_remove(const char *table, const char *tap, const NetLimit *limit, StrBuf *text);

#endif
