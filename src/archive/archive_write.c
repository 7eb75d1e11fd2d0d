/* SPDX-License-Identifier: Apache-2.0 */

/* Writing an archive. Each thread takes the next chunk, with a ticket, reads, hashes and compresses
 * it, and waits for its ticket's turn to send it; so the stream has the members' order whatever
 * thread is faster. The digests that the manifest promised are compared before the end is written.
 */

#include "archive/archive_write.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/fd.h"
#include "base/parallel.h"
#include "proto/archive_format.h"

#define LEVEL 3
#define THREADS_MAX 32

typedef struct Writer {
    const ArchiveOutput *output; /* borrowed */
    ArchiveMembers *members;     /* borrowed */
    TreeDigest **trees;          /* owned, one a member */
    uint64_t total_bytes;
    pthread_mutex_t mutex; /* guards what follows, and the output */
    pthread_cond_t turned;
    size_t member;
    uint64_t next;          /* chunk of it */
    uint64_t tickets, turn; /* given, and whose turn it is */
    uint64_t chunks, done_bytes;
    int result;
    Error error;
} Writer;

typedef struct Work {
    size_t member;
    uint64_t index, ticket;
    ArchiveRecord record;
    uint8_t *chunk, *pages, *out; /* owned */
    size_t used;                  /* of pages */
    ZSTD_CCtx *zstd;              /* owned */
} Work;

static void fail(Writer *writer, Error *error) {
    if (writer->result >= 0)
        writer->result = error_move(&writer->error, error);
    (void)pthread_cond_broadcast(&writer->turned);
}

/* With the mutex. */
static bool take(Writer *writer, Work *work) {
    while (writer->result >= 0 && writer->member < writer->members->count) {
        uint64_t index =
            archive_file_next(&writer->members->items[writer->member].file, writer->next);
        if (index != UINT64_MAX) {
            work->member = writer->member;
            work->index = index;
            work->ticket = writer->tickets++;
            writer->next = index + 1;
            return true;
        }
        writer->member++;
        writer->next = 0;
    }
    return false;
}

/* Of tree_digest_add: the pages that are not all zero, in order. */
static int add_pages(void *data, uint64_t offset, const uint8_t *bytes, size_t size) {
    Work *work = data;
    uint64_t page = (offset % TREE_DIGEST_CHUNK_BYTES) / ARCHIVE_PAGE_BYTES;
    memcpy(work->pages + work->used, bytes, size);
    work->used += size;
    for (size_t at = 0; at < size; at += ARCHIVE_PAGE_BYTES, page++)
        work->record.map[page / 8] |= (uint8_t)(1u << page % 8);
    return 0;
}

static int compress(Writer *writer, Work *work, Error *error) {
    const ArchiveFile *file = &writer->members->items[work->member].file;
    size_t size = archive_file_chunk_bytes(file, work->index), stored;
    int r = archive_file_read(file, work->index, work->chunk, error);
    if (r < 0)
        return r;
    work->used = 0;
    work->record = (ArchiveRecord){
        .kind = ARCHIVE_CHUNK, .member = (uint32_t)work->member, .index = work->index};
    r = tree_digest_add(writer->trees[work->member], work->index, work->chunk, size, add_pages,
                        work);
    if (r < 0 || work->used == 0)
        return r;
    stored = ZSTD_compress2(work->zstd, work->out + ARCHIVE_RECORD_BYTES, ARCHIVE_STORED_MAX,
                            work->pages, work->used);
    if (ZSTD_isError(stored))
        return error_set(error, ERROR_FAILED, EIO, "cannot compress: %s",
                         ZSTD_getErrorName(stored));
    work->record.raw_bytes = (uint32_t)work->used;
    work->record.stored_bytes = (uint32_t)stored;
    archive_write_record(&work->record, work->out);
    return 0;
}

/* With the mutex, which is given up while it is another one's turn. */
static int send_in_turn(Writer *writer, Work *work, Error *error) {
    int r = 0;
    while (writer->result >= 0 && writer->turn != work->ticket)
        (void)pthread_cond_wait(&writer->turned, &writer->mutex);
    if (writer->result < 0)
        return 0;
    if (fd_is_cancelled(writer->output->cancel_fd))
        return error_set(error, ERROR_CANCELLED, ECANCELED, "cancelled");
    if (work->used > 0) {
        r = writer->output->send(writer->output->data, work->out,
                                 ARCHIVE_RECORD_BYTES + work->record.stored_bytes, error);
        writer->chunks++;
        writer->done_bytes += work->used;
        if (writer->output->progress)
            writer->output->progress(writer->output->data, writer->done_bytes, writer->total_bytes);
    }
    writer->turn++;
    (void)pthread_cond_broadcast(&writer->turned);
    return r;
}

static void work_free(Work *work) {
    free(work->chunk);
    free(work->pages);
    free(work->out);
    (void)ZSTD_freeCCtx(work->zstd);
}

static void work_init(Work *work) {
    *work = (Work){.chunk = malloc(TREE_DIGEST_CHUNK_BYTES),
                   .pages = malloc(TREE_DIGEST_CHUNK_BYTES),
                   .out = malloc(ARCHIVE_RECORD_BYTES + ARCHIVE_STORED_MAX),
                   .zstd = ZSTD_createCCtx()};
    if (!work->chunk || !work->pages || !work->out || !work->zstd)
        abort();
    (void)ZSTD_CCtx_setParameter(work->zstd, ZSTD_c_compressionLevel, LEVEL);
    (void)ZSTD_CCtx_setParameter(work->zstd, ZSTD_c_checksumFlag, 1);
}

static void write_chunks(void *data) {
    Writer *writer = data;
    _cleanup_(work_free) Work work;
    _cleanup_error_ Error error = ERROR_INIT;
    work_init(&work);
    (void)pthread_mutex_lock(&writer->mutex);
    while (take(writer, &work)) {
        int r;
        (void)pthread_mutex_unlock(&writer->mutex);
        r = compress(writer, &work, &error);
        (void)pthread_mutex_lock(&writer->mutex);
        if (r >= 0)
            r = send_in_turn(writer, &work, &error);
        if (r < 0)
            fail(writer, &error);
    }
    (void)pthread_mutex_unlock(&writer->mutex);
}

/* ---- around them ---- */

static int send_record(const ArchiveOutput *output, ArchiveRecord *record, const char *text,
                       Error *error) {
    uint8_t bytes[ARCHIVE_RECORD_BYTES];
    int r;
    record->raw_bytes = record->stored_bytes = text ? (uint32_t)strlen(text) : 0;
    archive_write_record(record, bytes);
    r = output->send(output->data, bytes, sizeof(bytes), error);
    return r < 0 || !text ? r : output->send(output->data, text, strlen(text), error);
}

static int begin(const ArchiveOutput *output, json_t *manifest, const ArchiveMembers *members,
                 uint8_t hash[SHA256_SIZE], Error *error) {
    _cleanup_free_ char *text = NULL;
    uint8_t head[ARCHIVE_HEAD_BYTES];
    ArchiveRecord record = {.kind = ARCHIVE_MANIFEST};
    char hex[SHA256_HEX_SIZE];
    int r;
    (void)json_object_set_new(manifest, "members", archive_members_to_json(members));
    text = json_to_text(manifest);
    if (strlen(text) > ARCHIVE_MANIFEST_MAX)
        return error_set(error, ERROR_UNSUPPORTED, E2BIG, "the manifest would be too long");
    sha256_data(text, strlen(text), hex);
    (void)hex_decode(hex, hash, SHA256_SIZE);
    memcpy(record.map, hash, SHA256_SIZE);
    archive_write_head(output->version ? output->version : ARCHIVE_VERSION_PLAIN, head);
    r = output->send(output->data, head, sizeof(head), error);
    return r < 0 ? r : send_record(output, &record, text, error);
}

static int check_digests(Writer *writer, Error *error) {
    for (size_t i = 0; i < writer->members->count; i++) {
        const ArchiveMember *member = &writer->members->items[i];
        char found[TREE_DIGEST_SIZE];
        tree_digest_finish(writer->trees[i], member->file.bytes, found);
        if (!str_equal(found, member->digest))
            return error_set(error, ERROR_CORRUPT, EBADMSG,
                             "%s is not what was frozen: its digest is %.22s…, not %.22s…",
                             member->name, found, member->digest);
    }
    return 0;
}

static void tell_failure(const ArchiveOutput *output, const Error *failure) {
    _cleanup_json_ json_t *json = json_from_error(failure);
    _cleanup_free_ char *text = json_to_text(json);
    ArchiveRecord record = {.kind = ARCHIVE_FAILURE};
    if (failure->kind != ERROR_CANCELLED)
        (void)send_record(output, &record, text, NULL);
}

static int run(Writer *writer, json_t *manifest, Error *error) {
    ArchiveRecord end = {.kind = ARCHIVE_END};
    int r = begin(writer->output, manifest, writer->members, end.map, error);
    if (r < 0)
        return r;
    parallel_run(parallel_threads(THREADS_MAX), write_chunks, writer);
    if (writer->result < 0)
        return error_move(error, &writer->error);
    r = check_digests(writer, error);
    end.index = writer->chunks;
    return r < 0 ? r : send_record(writer->output, &end, NULL, error);
}

int archive_write(const ArchiveOutput *output, json_t *manifest, ArchiveMembers *members,
                  Error *error) {
    Writer writer = {.output = output,
                     .members = members,
                     .mutex = PTHREAD_MUTEX_INITIALIZER,
                     .turned = PTHREAD_COND_INITIALIZER,
                     .trees = calloc(members->count + 1, sizeof(TreeDigest *))};
    _cleanup_error_ Error failure = ERROR_INIT;
    int r;
    if (!writer.trees)
        abort();
    for (size_t i = 0; i < members->count; i++) {
        writer.trees[i] = tree_digest_new();
        writer.total_bytes += members->items[i].data_bytes;
    }
    r = run(&writer, manifest, &failure);
    for (size_t i = 0; i < members->count; i++)
        tree_digest_free(writer.trees[i]);
    free(writer.trees);
    if (r < 0)
        tell_failure(output, &failure);
    return r < 0 ? error_move(error, &failure) : 0;
}
