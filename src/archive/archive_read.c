/* SPDX-License-Identifier: Apache-2.0 */

/* Reading: each thread takes the next record from the stream, under a mutex, then decompresses,
 * hashes and writes it by itself. Bounds are checked before anything is made of a record: kinds,
 * sizes and the map (archive_format.c), here the order (member and index only ever grow, so nothing
 * comes twice) and that no member holds more than its manifest says. What was written counts only
 * when all digests fit and the end was there. */

#include "archive/archive_read.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/fd.h"
#include "base/parallel.h"
#include "proto/archive_format.h"

#define THREADS_MAX 32

typedef struct Reading {
    ArchiveReader *reader; /* borrowed */
    const ArchiveReadOptions *options;
    TreeDigest **trees; /* owned */
    bool *came;         /* owned: of which members there was a chunk; with the mutex */
    uint64_t total_bytes;
    pthread_mutex_t mutex; /* guards what follows, and the stream */
    bool any, ended;
    uint32_t member; /* of the last record */
    uint64_t index;
    uint64_t chunks, done_bytes, member_bytes;
    int result;
    Error error;
} Reading;

typedef struct Work {
    ArchiveRecord record;
    uint8_t *stored, *pages, *chunk; /* owned */
    ZSTD_DCtx *zstd;                 /* owned */
    const ArchiveFile *file;         /* borrowed */
} Work;

static int damaged(Error *error, const char *why) {
    error_set(error, ERROR_CORRUPT, EBADMSG, "the archive is damaged: %s", why);
    error_set_hint(error, "fetch or export it again");
    return -EBADMSG;
}

static int read_bytes(int fd, void *bytes, size_t size, Error *error) {
    ssize_t n = fd_read_full(fd, bytes, size);
    if (n < 0)
        return error_set_errno(error, (int)-n, "cannot read the archive");
    return (size_t)n == size ? 0 : damaged(error, "it was cut");
}

static int read_record(int fd, ArchiveRecord *record, Error *error) {
    uint8_t bytes[ARCHIVE_RECORD_BYTES];
    int r = read_bytes(fd, bytes, sizeof(bytes), error);
    return r < 0 ? r : archive_read_record(bytes, record, error);
}

/* ---- the manifest ---- */

void archive_reader_free(ArchiveReader *reader) {
    json_decref(reader->manifest);
    reader->manifest = NULL;
    archive_members_free(&reader->members);
}

static int check_manifest(ArchiveReader *reader, const ArchiveRecord *record, const char *text,
                          Error *error) {
    char hex[SHA256_HEX_SIZE];
    sha256_data(text, record->stored_bytes, hex);
    (void)hex_decode(hex, reader->hash, SHA256_SIZE);
    if (memcmp(reader->hash, record->map, SHA256_SIZE) != 0)
        return damaged(error, "the SHA-256 of its manifest differs");
    if (json_parse("manifest", text, record->stored_bytes, &reader->manifest, NULL) < 0 ||
        !json_is_object(reader->manifest))
        return damaged(error, "its manifest is no JSON object");
    return archive_members_from_json(json_object_get(reader->manifest, "members"), &reader->members,
                                     error);
}

int archive_reader_open(ArchiveReader *reader, int fd, Error *error) {
    _cleanup_free_ char *text = NULL;
    uint8_t head[ARCHIVE_HEAD_BYTES];
    ArchiveRecord record;
    int r = read_bytes(fd, head, sizeof(head), error);
    if (r >= 0)
        r = archive_check_head(head, error);
    if (r >= 0)
        r = read_record(fd, &record, error);
    if (r >= 0 && record.kind != ARCHIVE_MANIFEST)
        r = damaged(error, "its manifest is missing");
    if (r < 0)
        return r;
    text = malloc(record.stored_bytes + 1);
    if (!text)
        return error_set_errno(error, ENOMEM, "cannot read the archive");
    reader->fd = fd;
    r = read_bytes(fd, text, record.stored_bytes, error);
    if (r < 0)
        return r;
    text[record.stored_bytes] = '\0';
    r = check_manifest(reader, &record, text, error);
    if (r < 0)
        archive_reader_free(reader);
    return r;
}

/* ---- the chunks ---- */

static int read_failure(Reading *reading, const ArchiveRecord *record, Error *error) {
    _cleanup_free_ char *text = malloc(record->stored_bytes + 1);
    _cleanup_json_ json_t *json = NULL;
    _cleanup_error_ Error told = ERROR_INIT;
    int r = text ? read_bytes(reading->reader->fd, text, record->stored_bytes, error)
                 : error_set_errno(error, ENOMEM, "cannot read the archive");
    if (r < 0)
        return r;
    if (json_parse("failure", text, record->stored_bytes, &json, NULL) < 0 ||
        json_to_error(json, &told) < 0)
        return damaged(error, "it ends with a failure that cannot be read");
    return error_set(error, ERROR_CORRUPT, EBADMSG, "the archive was not written to its end: %s",
                     error_message(&told));
}

static int read_end(Reading *reading, const ArchiveRecord *record, Error *error) {
    uint8_t more;
    if (record->index != reading->chunks || record->member != 0)
        return damaged(error, "parts of it are missing");
    if (memcmp(record->map, reading->reader->hash, SHA256_SIZE) != 0)
        return damaged(error, "its end is another archive's");
    reading->ended = true;
    return fd_read_full(reading->reader->fd, &more, 1) == 0
               ? 0
               : damaged(error, "something stands after its end");
}

static int check_order(Reading *reading, const ArchiveRecord *record, Error *error) {
    const ArchiveMembers *members = &reading->reader->members;
    bool another = !reading->any || record->member != reading->member;
    const ArchiveMember *member;
    if (record->member >= members->count)
        return damaged(error, "a chunk is of no member");
    member = &members->items[record->member];
    if (reading->any &&
        (record->member < reading->member || (!another && record->index <= reading->index)))
        return damaged(error, "its chunks are in no order");
    if (record->index >= UINT64_MAX / TREE_DIGEST_CHUNK_BYTES ||
        record->index * TREE_DIGEST_CHUNK_BYTES >= member->file.bytes)
        return damaged(error, "a chunk lies behind its member's end");
    reading->any = true;
    reading->member_bytes = (another ? 0 : reading->member_bytes) + record->raw_bytes;
    reading->came[record->member] = true;
    reading->member = record->member;
    reading->index = record->index;
    return reading->member_bytes <= member->data_bytes
               ? 0
               : damaged(error, "a member holds more than its manifest says");
}

/* With the mutex. 1: a chunk; 0: the end. */
static int take(Reading *reading, Work *work, Error *error) {
    int r;
    if (reading->result < 0 || reading->ended)
        return 0;
    if (fd_is_cancelled(reading->options->cancel_fd))
        return error_set(error, ERROR_CANCELLED, ECANCELED, "cancelled");
    r = read_record(reading->reader->fd, &work->record, error);
    if (r < 0)
        return r;
    if (work->record.kind == ARCHIVE_END)
        return read_end(reading, &work->record, error);
    if (work->record.kind == ARCHIVE_FAILURE)
        return read_failure(reading, &work->record, error);
    if (work->record.kind != ARCHIVE_CHUNK)
        return damaged(error, "it has two manifests");
    r = check_order(reading, &work->record, error);
    if (r >= 0)
        r = read_bytes(reading->reader->fd, work->stored, work->record.stored_bytes, error);
    if (r < 0)
        return r;
    reading->chunks++;
    reading->done_bytes += work->record.raw_bytes;
    if (reading->options->progress)
        reading->options->progress(reading->options->data, reading->done_bytes,
                                   reading->total_bytes);
    return 1;
}

static int write_run(void *data, uint64_t offset, const uint8_t *bytes, size_t size) {
    const Work *work = data;
    return archive_file_write(work->file, offset, bytes, size);
}

/* Puts the pages to their places in the chunk. */
static int spread(Work *work, size_t size, Error *error) {
    size_t from = 0;
    memset(work->chunk, 0, size);
    for (size_t page = 0; page < 8 * sizeof(work->record.map); page++) {
        size_t at = page * ARCHIVE_PAGE_BYTES, bytes;
        if (!(work->record.map[page / 8] & 1u << page % 8))
            continue;
        if (at >= size)
            return damaged(error, "a page lies behind its member's end");
        bytes = MIN_OF((size_t)ARCHIVE_PAGE_BYTES, size - at);
        if (bytes > work->record.raw_bytes - from)
            return damaged(error, "a chunk is shorter than its pages");
        memcpy(work->chunk + at, work->pages + from, bytes);
        from += bytes;
    }
    return from == work->record.raw_bytes ? 0 : damaged(error, "a chunk is longer than its pages");
}

static int store(Reading *reading, Work *work, Error *error) {
    const ArchiveMember *member = &reading->reader->members.items[work->record.member];
    size_t size = archive_file_chunk_bytes(&member->file, work->record.index), got;
    int r;
    got = ZSTD_decompressDCtx(work->zstd, work->pages, TREE_DIGEST_CHUNK_BYTES, work->stored,
                              work->record.stored_bytes);
    if (ZSTD_isError(got))
        return damaged(error, ZSTD_getErrorName(got));
    if (got != work->record.raw_bytes)
        return damaged(error, "a chunk has another size than it says");
    r = spread(work, size, error);
    if (r < 0)
        return r;
    work->file = &member->file;
    r = tree_digest_add(reading->trees[work->record.member], work->record.index, work->chunk, size,
                        member->wanted ? write_run : NULL, work);
    return r < 0 ? error_set_errno(error, -r, "cannot write %s", member->name) : 0;
}

static void work_free(Work *work) {
    free(work->stored);
    free(work->pages);
    free(work->chunk);
    (void)ZSTD_freeDCtx(work->zstd);
}

static void work_init(Work *work) {
    *work = (Work){.stored = malloc(ARCHIVE_STORED_MAX),
                   .pages = malloc(TREE_DIGEST_CHUNK_BYTES),
                   .chunk = malloc(TREE_DIGEST_CHUNK_BYTES),
                   .zstd = ZSTD_createDCtx()};
    if (!work->stored || !work->pages || !work->chunk || !work->zstd)
        abort();
}

static void read_chunks(void *data) {
    Reading *reading = data;
    _cleanup_(work_free) Work work;
    _cleanup_error_ Error error = ERROR_INIT;
    int r = 1;
    work_init(&work);
    while (r > 0) {
        (void)pthread_mutex_lock(&reading->mutex);
        r = take(reading, &work, &error);
        if (r < 0 && reading->result >= 0)
            reading->result = error_move(&reading->error, &error);
        (void)pthread_mutex_unlock(&reading->mutex);
        if (r <= 0)
            break;
        if (store(reading, &work, &error) >= 0)
            continue;
        (void)pthread_mutex_lock(&reading->mutex);
        if (reading->result >= 0)
            reading->result = error_move(&reading->error, &error);
        (void)pthread_mutex_unlock(&reading->mutex);
    }
}

static int check_digests(Reading *reading, Error *error) {
    const ArchiveMembers *members = &reading->reader->members;
    for (size_t i = 0; i < members->count; i++) {
        const ArchiveMember *member = &members->items[i];
        char found[TREE_DIGEST_SIZE];
        if (!member->wanted && !reading->came[i])
            continue;
        tree_digest_finish(reading->trees[i], member->file.bytes, found);
        if (!str_equal(found, member->digest))
            return error_set(error, ERROR_CORRUPT, EBADMSG,
                             "the archive is damaged: the digest of %s differs", member->name);
    }
    return 0;
}

static int make_files(Reading *reading, Error *error) {
    const ArchiveMembers *members = &reading->reader->members;
    int r = 0;
    for (size_t i = 0; r >= 0 && i < members->count; i++) {
        reading->total_bytes += members->items[i].data_bytes;
        if (members->items[i].wanted)
            r = archive_file_make(&members->items[i].file, error);
    }
    return r;
}

int archive_reader_run(ArchiveReader *reader, const ArchiveReadOptions *options, Error *error) {
    size_t count = reader->members.count;
    Reading reading = {.reader = reader,
                       .options = options,
                       .mutex = PTHREAD_MUTEX_INITIALIZER,
                       .trees = calloc(count + 1, sizeof(TreeDigest *)),
                       .came = calloc(count + 1, sizeof(bool))};
    int r;
    if (!reading.trees || !reading.came)
        abort();
    for (size_t i = 0; i < count; i++)
        reading.trees[i] = tree_digest_new();
    r = make_files(&reading, error);
    if (r >= 0) {
        parallel_run(parallel_threads(THREADS_MAX), read_chunks, &reading);
        r = reading.result < 0 ? error_move(error, &reading.error) : check_digests(&reading, error);
    }
    for (size_t i = 0; i < count; i++)
        tree_digest_free(reading.trees[i]);
    free(reading.trees);
    free(reading.came);
    return r;
}
