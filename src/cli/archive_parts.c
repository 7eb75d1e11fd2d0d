/* SPDX-License-Identifier: Apache-2.0 */

#include "cli/archive_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "proto/archive_format.h"

/* The part that is being written. */
typedef struct Writing {
    const char *folder; /* borrowed */
    ArchiveParts *parts;
    int fd;       /* owned; -1: none */
    Sha256 *hash; /* owned */
} Writing;

typedef struct Buffer {
    uint8_t *data; /* owned: a record and what it holds */
    size_t room;
} Buffer;

static int cut(Error *error) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "the archive is damaged: it was cut");
}

/* 1: a record with what follows; 0: the end of the file. */
static int read_record(int fd, Buffer *buffer, ArchiveRecord *record, size_t *size, Error *error) {
    ssize_t n = fd_read_full(fd, buffer->data, ARCHIVE_RECORD_BYTES);
    int r;
    if (n == 0)
        return 0;
    if (n != ARCHIVE_RECORD_BYTES)
        return n < 0 ? error_set_errno(error, (int)-n, "cannot read the archive") : cut(error);
    r = archive_read_record(buffer->data, record, error);
    if (r < 0)
        return r;
    n = fd_read_full(fd, buffer->data + ARCHIVE_RECORD_BYTES, record->stored_bytes);
    if (n != (ssize_t)record->stored_bytes)
        return cut(error);
    *size = ARCHIVE_RECORD_BYTES + record->stored_bytes;
    return 1;
}

static int begin_part(Writing *writing, const char *name, Error *error) {
    _cleanup_free_ char *path = path_join(writing->folder, "part");
    ArchiveParts *parts = writing->parts;
    if (parts->count == ARCHIVE_PARTS_MAX)
        return error_set(error, ERROR_UNSUPPORTED, E2BIG, "the archive has too many members");
    parts->items[parts->count] = (ArchiveBlob){0};
    str_set(parts->items[parts->count].name, name);
    writing->hash = sha256_new();
    writing->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return writing->fd < 0 ? error_set_errno(error, errno, "cannot write %s", path) : 0;
}

static int add_bytes(Writing *writing, const void *data, size_t size, Error *error) {
    int r = fd_write_full(writing->fd, data, size);
    sha256_update(writing->hash, data, size);
    writing->parts->items[writing->parts->count].bytes += size;
    return r < 0 ? error_set_errno(error, -r, "cannot write a part of the archive") : 0;
}

static int end_part(Writing *writing, Error *error) {
    ArchiveBlob *part = &writing->parts->items[writing->parts->count];
    _cleanup_free_ char *from = path_join(writing->folder, "part"), *to = NULL;
    if (writing->fd < 0)
        return 0;
    sha256_finish(writing->hash, part->sha256);
    sha256_free(writing->hash);
    writing->hash = NULL;
    writing->fd = fd_close(writing->fd);
    writing->parts->count++;
    to = path_join(writing->folder, part->sha256);
    return rename(from, to) < 0 ? error_set_errno(error, errno, "cannot name a part") : 0;
}

static int next_part(Writing *writing, const char *name, Error *error) {
    int r = end_part(writing, error);
    return r < 0 ? r : begin_part(writing, name, error);
}

static int parse_manifest(const Buffer *buffer, const ArchiveRecord *record, json_t **manifest,
                          Error *error) {
    if (record->kind != ARCHIVE_MANIFEST ||
        json_parse("manifest", (const char *)buffer->data + ARCHIVE_RECORD_BYTES,
                   record->stored_bytes, manifest, NULL) < 0)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "the archive's manifest is damaged");
    return 0;
}

static char *part_name(const json_t *manifest, const ArchiveRecord *record) {
    const json_t *member = json_array_get(json_object_get(manifest, "members"), record->member);
    const char *name = json_string_value(json_object_get(member, "name"));
    return record->kind == ARCHIVE_END ? str_copy("end")
                                       : str_format("member-%s", name ? name : "unknown");
}

static int split_records(Writing *writing, int fd, Buffer *buffer, Error *error) {
    _cleanup_json_ json_t *manifest = NULL;
    ArchiveRecord record;
    size_t size;
    uint32_t member = 0;
    bool any = false;
    int r;
    while ((r = read_record(fd, buffer, &record, &size, error)) > 0) {
        if (!manifest)
            r = parse_manifest(buffer, &record, &manifest, error);
        else if (!any || record.member != member || record.kind != ARCHIVE_CHUNK) {
            _cleanup_free_ char *name = part_name(manifest, &record);
            r = next_part(writing, name, error);
            any = true;
            member = record.member;
        }
        if (r >= 0)
            r = add_bytes(writing, buffer->data, size, error);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : end_part(writing, error);
}

static int read_head(int fd, uint8_t head[ARCHIVE_HEAD_BYTES], Error *error) {
    if (fd_read_full(fd, head, ARCHIVE_HEAD_BYTES) != ARCHIVE_HEAD_BYTES)
        return cut(error);
    return archive_check_head(head, error);
}

static void buffer_init(Buffer *buffer) {
    buffer->room = ARCHIVE_RECORD_BYTES + MAX_OF(ARCHIVE_MANIFEST_MAX, ARCHIVE_STORED_MAX);
    buffer->data = malloc(buffer->room);
    if (!buffer->data)
        abort();
}

int archive_parts_split(const char *file, const char *folder, ArchiveParts *parts, Error *error) {
    Writing writing = {.folder = folder, .parts = parts, .fd = -1};
    _cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
    uint8_t head[ARCHIVE_HEAD_BYTES];
    Buffer buffer;
    int r;
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", file);
    buffer_init(&buffer);
    parts->count = 0;
    r = read_head(fd, head, error);
    if (r >= 0)
        r = begin_part(&writing, "manifest", error);
    if (r >= 0)
        r = add_bytes(&writing, head, sizeof(head), error);
    if (r >= 0)
        r = split_records(&writing, fd, &buffer, error);
    (void)fd_close(writing.fd);
    sha256_free(writing.hash);
    free(buffer.data);
    return r;
}

int archive_parts_manifest(const char *path, json_t **manifest, Error *error) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t head[ARCHIVE_HEAD_BYTES];
    ArchiveRecord record = {.kind = ARCHIVE_END};
    Buffer buffer;
    size_t size;
    int r;
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    buffer_init(&buffer);
    r = read_head(fd, head, error);
    if (r >= 0)
        r = read_record(fd, &buffer, &record, &size, error);
    if (r >= 0)
        r = parse_manifest(&buffer, &record, manifest, error);
    free(buffer.data);
    return r;
}

/* ---- joining ---- */

static int join_part(int out, const char *path, bool first, Buffer *buffer, uint64_t *chunks,
                     Error *error) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t head[ARCHIVE_HEAD_BYTES];
    ArchiveRecord record;
    size_t size;
    int r = 0;
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    if (first)
        r = read_head(fd, head, error);
    if (r >= 0 && first)
        r = fd_write_full(out, head, sizeof(head));
    while (r >= 0 && (r = read_record(fd, buffer, &record, &size, error)) > 0) {
        *chunks += record.kind == ARCHIVE_CHUNK;
        if (record.kind == ARCHIVE_END) {
            record.index = *chunks;
            archive_write_record(&record, buffer->data);
        }
        r = fd_write_full(out, buffer->data, size);
        if (r < 0)
            return error_set_errno(error, -r, "cannot write the archive");
    }
    return r;
}

int archive_parts_join(char *const *files, size_t count, const char *file, Error *error) {
    _cleanup_close_ int out = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    uint64_t chunks = 0;
    Buffer buffer;
    int r = 0;
    if (out < 0)
        return error_set_errno(error, errno, "cannot write %s", file);
    buffer_init(&buffer);
    for (size_t i = 0; r >= 0 && i < count; i++)
        if (files[i])
            r = join_part(out, files[i], i == 0, &buffer, &chunks, error);
    free(buffer.data);
    return r;
}
