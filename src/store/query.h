/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_QUERY_H
#define RAMET_STORE_QUERY_H

/* What the tables' files share: prepared statements on the one connection. */

#include <sqlite3.h>

#include "base/json.h"
#include "store/connection.h"
#include "store/store.h"

/* A statement in use. The store's mutex is held from query_start to query_end, so that a statement,
 * its error text and the connection's counters belong together. */
typedef struct Query {
    Store *store;       /* borrowed; NULL: none */
    sqlite3_stmt *stmt; /* owned */
    int next;           /* index of the next parameter */
} Query;

#define QUERY_INIT ((Query){0})

/* Takes the mutex and prepares the statement; query_end undoes both, and so does a failure. */
int query_start(Query *query, Store *store, const char *sql, Error *error);
void query_end(Query *query);
#define _cleanup_query_ _cleanup_(query_end)

/* Binds the next parameter; NULL binds NULL. Texts are copied. */
void query_text(Query *query, const char *text);
void query_u64(Query *query, uint64_t value);
void query_json(Query *query, const json_t *json);

/* 1: a row, 0: the end, or a negative errno. */
int query_step(Query *query, Error *error);

/* Runs a statement that gives no rows. *changes may be NULL. */
int query_run(Query *query, int *changes, Error *error);

/* Copies a column, cut to the room. */
void query_column_text(Query *query, int column, char *text, size_t room);
uint64_t query_column_u64(Query *query, int column);

/* A new reference, or NULL for NULL. ERROR_CORRUPT when it is no JSON. */
int query_column_json(Query *query, int column, json_t **json, Error *error);

/* Fills the error from the connection's state after `result`. */
int query_fail(Query *query, int result, Error *error);

/* The row number of the last insertion. */
uint64_t query_last_id(Query *query);

#endif
