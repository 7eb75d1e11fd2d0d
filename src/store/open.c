/* SPDX-License-Identifier: Apache-2.0 */
#include "store/open.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "store/query.h"
#include "store/schema.h"

#define BUSY_TIMEOUT_MSEC 30000
#define LOG_BYTES (4 << 20) /* as the checkpoints of SQLite and journal_size_limit keep it */
#define CHUNK_BYTES (1 << 20)

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

/* On a disk that is full what happened must be noted all the same, such as that what was half made
 * is undone: the log has its room from the beginning, and the file grows in chunks. Where that
 * cannot be, it is as it was. */
static void reserve_room(Store *store, const char *path) {
    _cleanup_free_ char *log = str_format("%s-wal", path);
    _cleanup_close_ int fd = open(log, O_RDWR | O_CLOEXEC);
    int chunk = CHUNK_BYTES;
    (void)sqlite3_file_control(store->connection, "main", SQLITE_FCNTL_CHUNK_SIZE, &chunk);
    if (fd < 0 || fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, LOG_BYTES) < 0)
        log_debug("no room is reserved for %s: errno %d", log, errno);
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
        r = store_fail(opened->connection, r, error);
    (void)umask(mask);
    if (r >= 0)
        r = check_whole(opened, error);
    if (r >= 0)
        r = schema_migrate(opened, error);
    if (r >= 0)
        reserve_room(opened, path);
    if (r < 0) {
        (void)error_add_context(error, "%s", path);
        return r;
    }
    *store = TAKE_PTR(opened);
    return 0;
}
