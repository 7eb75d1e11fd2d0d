/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_CONNECTION_H
#define RAMET_STORE_CONNECTION_H

/* Within this folder: the connection itself. */

#include <pthread.h>
#include <sqlite3.h>

#include "base/error.h"

struct Store {
    sqlite3 *connection;   /* owned */
    pthread_mutex_t mutex; /* recursive */
};

/* Fills the error from the connection's state after `result`. */
int store_fail(sqlite3 *connection, int result, Error *error);

/* Runs statements without parameters; takes the mutex. */
int store_execute(struct Store *store, const char *sql, Error *error);

#endif
