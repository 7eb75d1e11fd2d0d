/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_EVENTS_H
#define RAMET_STORE_EVENTS_H

/* The table of events: what happened to whom. The last EVENTS_KEPT are kept. */

#include "base/json.h"
#include "store/store.h"

#define EVENTS_KEPT 100000

/* Adds one, timed now. vm and name (of the thing it is about), detail: may be NULL. */
int events_add(Store *store, const char *type, const char *vm, const char *name,
               const json_t *detail, uint64_t *id, Error *error);

/* Those with a greater id than `since`, oldest first, at most `max`:
 * [{"id","at","type","vm","name","detail"}]. */
int events_list(Store *store, uint64_t since, size_t max, json_t **array, Error *error);

/* The id of the newest one; 0 when there is none. */
int events_last(Store *store, uint64_t *id, Error *error);

#endif
