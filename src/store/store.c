/* SPDX-License-Identifier: Apache-2.0 */

/* The connection.
 *
 * One connection serves all threads, each statement under a recursive mutex. That is enough: no
 * statement takes longer than the writing of its WAL frame, and nobody else has the file (the
 * daemon's lock sees to that). synchronous=NORMAL in WAL mode never damages the file; a power cut
 * may lose the last commits, a kill -9 loses nothing.
 *
 * A transaction holds the mutex from begin to commit, so that no other thread's statement gets in
 * between. */

#include "store/store.h"

#include <errno.h>

#include "store/connection.h"

int store_fail(sqlite3 *connection, int result, Error *error) {
    const char *text = connection ? sqlite3_errmsg(connection) : sqlite3_errstr(result);
    switch (result & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        error_set(error, ERROR_CORRUPT, EBADMSG, "the store is damaged (%s)", text);
        error_set_hint(error,
                       "move ramet.db away to start with an empty one; images and disks stay");
        return -EBADMSG;
    case SQLITE_FULL:
        return error_set(error, ERROR_NO_SPACE, ENOSPC, "cannot write the store: %s", text);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return error_set(error, ERROR_PERMISSION, EACCES, "cannot write the store: %s", text);
    case SQLITE_CANTOPEN:
        return error_set(error, ERROR_FAILED, EIO, "cannot open the store: %s", text);
    case SQLITE_CONSTRAINT:
        return error_set(error, ERROR_CONFLICT, EEXIST, "%s", text);
    default:
        return error_set(error, ERROR_FAILED, EIO, "the store failed: %s", text);
    }
}

Store *store_close(Store *store) {
    if (!store)
        return NULL;
    (void)sqlite3_close_v2(store->connection);
    (void)pthread_mutex_destroy(&store->mutex);
    free(store);
    return NULL;
}

int store_execute(Store *store, const char *sql, Error *error) {
    int result, r = 0;
    (void)pthread_mutex_lock(&store->mutex);
    result = sqlite3_exec(store->connection, sql, NULL, NULL, NULL);
    if (result != SQLITE_OK)
        r = store_fail(store->connection, result, error);
    (void)pthread_mutex_unlock(&store->mutex);
    return r;
}

int store_begin(Store *store, Error *error) {
    int r;
    (void)pthread_mutex_lock(&store->mutex);
    r = store_execute(store, "BEGIN IMMEDIATE", error);
    if (r < 0)
        (void)pthread_mutex_unlock(&store->mutex);
    return r;
}

void store_rollback(Store *store) {
    if (!sqlite3_get_autocommit(store->connection))
        (void)store_execute(store, "ROLLBACK", NULL);
    (void)pthread_mutex_unlock(&store->mutex);
}

int store_commit(Store *store, Error *error) {
    int r = store_execute(store, "COMMIT", error);
    if (r < 0) {
        store_rollback(store);
        return r;
    }
    (void)pthread_mutex_unlock(&store->mutex);
    return 0;
}

int store_nest(Store *store, Error *error) {
    int r;
    (void)pthread_mutex_lock(&store->mutex);
    r = store_execute(store, "SAVEPOINT nested", error);
    if (r < 0)
        (void)pthread_mutex_unlock(&store->mutex);
    return r;
}

int store_nest_end(Store *store, int r, Error *error) {
    if (r < 0)
        (void)store_execute(store, "ROLLBACK TO nested", NULL);
    if (store_execute(store, "RELEASE nested", r < 0 ? NULL : error) < 0 && r >= 0)
        r = -EIO;
    (void)pthread_mutex_unlock(&store->mutex);
    return r;
}

int store_sync(Store *store, Error *error) {
    return store_execute(store, "PRAGMA wal_checkpoint(FULL)", error);
}
