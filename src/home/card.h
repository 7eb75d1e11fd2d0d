/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_CARD_H
#define RAMET_HOME_CARD_H

/* Which networks a client wants a VM to be in. */

#include "base/error.h"
#include "base/json.h"
#include "store/vm_spec.h"

/* Reads `network`, the only card ("user", "none" or NAME[,ip=ADDRESS][,mac=MAC]; NULL: not given),
 * or `networks`, a list of such (NULL: not given). Without either the cards stay as they are.
 * ERROR_USAGE. */
int vm_cards_parse(const char *network, const json_t *networks, VmCards *cards, Error *error);

/* What was put together: a network twice, too many, an address where there is none to choose.
 * ERROR_USAGE. */
int vm_cards_check(const VmCards *cards, Error *error);

#endif
