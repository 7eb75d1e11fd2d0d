/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_SCHEMA_H
#define RAMET_STORE_SCHEMA_H

#include "store/store.h"

/* Brings the open connection to the newest schema. */
int schema_migrate(Store *store, Error *error);

#endif
