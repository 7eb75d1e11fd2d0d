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
#include <pthread.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/str.h"
#include "store/internal.h"

#define BUSY_TIMEOUT_MSEC 30000

struct Store {
    sqlite3 *connection; /* owned */
    pthread_mutex_t mutex;
};

static int set_sqlite_error(Error *error, sqlite3 *connection, int result) {
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

static int configure(Store *store, Error *error) {
    (void)sqlite3_extended_result_codes(store->connection, 1);
    (void)sqlite3_busy_timeout(store->connection, BUSY_TIMEOUT_MSEC);
    return store_execute(store,
                         "PRAGMA journal_mode=WAL;"
                         "PRAGMA synchronous=NORMAL;"
                         "PRAGMA foreign_keys=ON;"
                         "PRAGMA cache_size=-2048;" /* KiB: the daemon stays small */
                         "PRAGMA journal_size_limit=4194304;",
                         error);
}

/* Damage shows early or never: quick_check reads all pages, which for this file are few. */
static int check_whole(Store *store, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    char answer[128];
    int r;

    r = query_start(&query, store, "PRAGMA quick_check(1)", error);
    if (r < 0)
        return r;
    r = query_step(&query, error);
    if (r < 0)
        return r;
    query_column_text(&query, 0, answer, sizeof(answer));
    if (str_equal(answer, "ok"))
        return 0;
    error_set(error, ERROR_CORRUPT, EBADMSG, "the store is damaged (%s)", answer);
    error_set_hint(error, "move ramet.db away to start with an empty one; images and disks stay");
    return -EBADMSG;
}

static Store *store_new(void) {
    Store *store = calloc(1, sizeof(*store));
    pthread_mutexattr_t attributes;

    if (!store)
        abort();
    (void)pthread_mutexattr_init(&attributes);
    (void)pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(&store->mutex, &attributes);
    (void)pthread_mutexattr_destroy(&attributes);
    return store;
}

int store_open(const char *path, Store **store, Error *error) {
    _cleanup_(store_close_p) Store *opened = store_new();
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    mode_t mask;
    int r;

    mask = umask(0077);
    r = sqlite3_open_v2(path, &opened->connection, flags, NULL);
    if (r == SQLITE_OK)
        r = configure(opened, error);
    else
        r = set_sqlite_error(error, opened->connection, r);
    (void)umask(mask);
    if (r >= 0)
        r = check_whole(opened, error);
    if (r >= 0)
        r = schema_migrate(opened, error);
    if (r < 0) {
        (void)error_add_context(error, "%s", path);
        return r;
    }
    *store = TAKE_PTR(opened);
    return 0;
}

Store *store_close(Store *store) {
    if (!store)
        return NULL;
    (void)sqlite3_close_v2(store->connection);
    (void)pthread_mutex_destroy(&store->mutex);
    free(store);
    return NULL;
}

sqlite3 *store_connection(Store *store) {
    return store->connection;
}

int store_execute(Store *store, const char *sql, Error *error) {
    int result, r = 0;

    (void)pthread_mutex_lock(&store->mutex);
    result = sqlite3_exec(store->connection, sql, NULL, NULL, NULL);
    if (result != SQLITE_OK)
        r = set_sqlite_error(error, store->connection, result);
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

int store_sync(Store *store, Error *error) {
    return store_execute(store, "PRAGMA wal_checkpoint(FULL)", error);
}

int query_start(Query *query, Store *store, const char *sql, Error *error) {
    int result, r = 0;

    (void)pthread_mutex_lock(&store->mutex);
    *query = (Query){.store = store, .next = 1};
    result = sqlite3_prepare_v2(store->connection, sql, -1, &query->stmt, NULL);
    if (result != SQLITE_OK) {
        r = set_sqlite_error(error, store->connection, result);
        query_end(query);
    }
    return r;
}

void query_end(Query *query) {
    if (!query->store)
        return;
    (void)sqlite3_finalize(query->stmt);
    (void)pthread_mutex_unlock(&query->store->mutex);
    *query = QUERY_INIT;
}

/* Binding fails only out of memory or for a wrong index; the step that follows would then write
 * NULL. Neither may pass unseen. */
static void bound(int result) {
    if (result != SQLITE_OK) {
        log_error("cannot bind a value: %s", sqlite3_errstr(result));
        abort();
    }
}

void query_text(Query *query, const char *text) {
    bound(text ? sqlite3_bind_text(query->stmt, query->next, text, -1, SQLITE_TRANSIENT)
               : sqlite3_bind_null(query->stmt, query->next));
    query->next++;
}

void query_u64(Query *query, uint64_t value) {
    bound(sqlite3_bind_int64(query->stmt, query->next++, (sqlite3_int64)value));
}

void query_json(Query *query, const json_t *json) {
    _cleanup_free_ char *text = json ? json_to_text(json) : NULL;

    query_text(query, text);
}

int query_fail(Query *query, int result, Error *error) {
    return set_sqlite_error(error, query->store->connection, result);
}

int query_step(Query *query, Error *error) {
    int result = sqlite3_step(query->stmt);

    if (result == SQLITE_ROW)
        return 1;
    if (result == SQLITE_DONE)
        return 0;
    return query_fail(query, result, error);
}

int query_run(Query *query, int *changes, Error *error) {
    int r = query_step(query, error);

    if (r < 0)
        return r;
    if (changes)
        *changes = sqlite3_changes(query->store->connection);
    return 0;
}

uint64_t store_last_id(Query *query) {
    return (uint64_t)sqlite3_last_insert_rowid(query->store->connection);
}

void query_column_text(Query *query, int column, char *text, size_t room) {
    const char *value = (const char *)sqlite3_column_text(query->stmt, column);

    (void)snprintf(text, room, "%s", value ? value : "");
}

uint64_t query_column_u64(Query *query, int column) {
    return (uint64_t)sqlite3_column_int64(query->stmt, column);
}

int query_column_json(Query *query, int column, json_t **json, Error *error) {
    const char *text = (const char *)sqlite3_column_text(query->stmt, column);
    size_t size = (size_t)sqlite3_column_bytes(query->stmt, column);

    if (!text) {
        *json = NULL;
        return 0;
    }
    if (json_parse("the store", text, size, json, error) < 0)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "the store holds a value that is no JSON");
    return 0;
}
