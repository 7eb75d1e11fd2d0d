/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_OPEN_H
#define RAMET_STORE_OPEN_H

#include "store/store.h"

/* Opens or makes the file and brings its schema up to date. A damaged file is ERROR_CORRUPT, one
 * that a newer Ramet wrote is ERROR_UNSUPPORTED; neither is touched. */
int store_open(const char *path, Store **store, Error *error);

#endif
