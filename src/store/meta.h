/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_META_H
#define RAMET_STORE_META_H

/* Single values by key: probes' results and the like. */

#include "store/store.h"

/* The caller owns *value; NULL when there is none. */
int meta_get(Store *store, const char *key, char **value, Error *error);
int meta_set(Store *store, const char *key, const char *value, Error *error);

#endif
