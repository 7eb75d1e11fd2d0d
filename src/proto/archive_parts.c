/* SPDX-License-Identifier: Apache-2.0 */

/* Cutting: bytes are gathered until a whole record is there, which goes into the file of its part
 * and into that part's digest; a record of another member begins the next part. */

#include "proto/archive_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "proto/archive_format.h"

#define ROOM (ARCHIVE_RECORD_BYTES + MAX_OF(ARCHIVE_MANIFEST_MAX, ARCHIVE_STORED_MAX))

struct ArchiveSplit {
    char *folder; /* owned */
    ArchiveParts parts;
    int fd;           /* owned: the part that is being written; -1: none */
    Sha256 *hash;     /* owned: its */
    json_t *manifest; /* owned; NULL: not there yet */
    uint32_t member;  /* of the last chunk */
    bool any;         /* chunk */
    bool headed, ended;
    uint8_t *data; /* owned: the head or a record, as far as it came */
    size_t size, wanted;
};

static int cut(Error *error) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "the archive is damaged: it was cut");
}

static uint8_t *room_new(void) {
    uint8_t *data = malloc(ROOM);
    if (!data)
        abort();
    return data;
}

ArchiveSplit *archive_split_new(const char *folder) {
    ArchiveSplit *split = calloc(1, sizeof(*split));
    if (!split)
        abort();
    split->folder = str_copy(folder);
    split->fd = -1;
    split->data = room_new();
    split->wanted = ARCHIVE_HEAD_BYTES;
    return split;
}

void archive_split_free(ArchiveSplit *split) {
    if (!split)
        return;
    (void)fd_close(split->fd);
    sha256_free(split->hash);
    json_decref(split->manifest);
    free(split->data);
    free(split->folder);
    free(split);
}

static int begin_part(ArchiveSplit *split, const char *name, Error *error) {
    _cleanup_free_ char *path = path_join(split->folder, "part");
    ArchiveParts *parts = &split->parts;
    if (parts->count == ARCHIVE_PARTS_MAX)
        return error_set(error, ERROR_UNSUPPORTED, E2BIG, "the archive has too many members");
    parts->items[parts->count] = (ArchiveBlob){0};
    str_set(parts->items[parts->count].name, name);
    split->hash = sha256_new();
    split->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return split->fd < 0 ? error_set_errno(error, errno, "cannot write %s", path) : 0;
}

static int end_part(ArchiveSplit *split, Error *error) {
    ArchiveBlob *part = &split->parts.items[split->parts.count];
    _cleanup_free_ char *from = path_join(split->folder, "part"), *to = NULL;
    sha256_finish(split->hash, part->sha256);
    sha256_free(split->hash);
    split->hash = NULL;
    split->fd = fd_close(split->fd);
    split->parts.count++;
    to = path_join(split->folder, part->sha256);
    return rename(from, to) < 0 ? error_set_errno(error, errno, "cannot name a part") : 0;
}

static int add_gathered(ArchiveSplit *split, Error *error) {
    int r = fd_write_full(split->fd, split->data, split->size);
    sha256_update(split->hash, split->data, split->size);
    split->parts.items[split->parts.count].bytes += split->size;
    return r < 0 ? error_set_errno(error, -r, "cannot write a part of the archive") : 0;
}

static int parse_manifest(const uint8_t *bytes, const ArchiveRecord *record, json_t **manifest,
                          Error *error) {
    if (record->kind != ARCHIVE_MANIFEST ||
        json_parse("manifest", (const char *)bytes + ARCHIVE_RECORD_BYTES, record->stored_bytes,
                   manifest, NULL) < 0)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "the archive's manifest is damaged");
    return 0;
}

static char *part_name(const json_t *manifest, const ArchiveRecord *record) {
    const json_t *member = json_array_get(json_object_get(manifest, "members"), record->member);
    const char *name = json_string_value(json_object_get(member, "name"));
    return record->kind == ARCHIVE_END ? str_copy("end")
                                       : str_format("member-%s", name ? name : "unknown");
}

static int next_part(ArchiveSplit *split, const ArchiveRecord *record, Error *error) {
    _cleanup_free_ char *name = part_name(split->manifest, record);
    int r = end_part(split, error);
    split->any = true;
    split->member = record->member;
    return r < 0 ? r : begin_part(split, name, error);
}

/* A whole record is gathered. */
static int take_record(ArchiveSplit *split, const ArchiveRecord *record, Error *error) {
    int r = 0;
    if (record->kind == ARCHIVE_FAILURE) /* whoever sends tells of it */
        return 0;
    if (split->ended)
        return cut(error);
    if (!split->manifest)
        r = parse_manifest(split->data, record, &split->manifest, error);
    else if (!split->any || record->member != split->member || record->kind != ARCHIVE_CHUNK)
        r = next_part(split, record, error);
    split->ended = record->kind == ARCHIVE_END;
    return r < 0 ? r : add_gathered(split, error);
}

static int take_head(ArchiveSplit *split, Error *error) {
    int r = archive_check_head(split->data, error);
    if (r >= 0)
        r = begin_part(split, "manifest", error);
    split->headed = true;
    return r < 0 ? r : add_gathered(split, error);
}

/* What was wanted is gathered: a head, a record's own bytes, or all of it. */
static int take(ArchiveSplit *split, Error *error) {
    ArchiveRecord record;
    int r;
    if (!split->headed) {
        r = take_head(split, error);
    } else {
        r = archive_read_record(split->data, &record, error);
        if (r >= 0 && split->size < ARCHIVE_RECORD_BYTES + record.stored_bytes) {
            split->wanted = ARCHIVE_RECORD_BYTES + record.stored_bytes;
            return 0;
        }
        if (r >= 0)
            r = take_record(split, &record, error);
    }
    split->size = 0;
    split->wanted = ARCHIVE_RECORD_BYTES;
    return r;
}

int archive_split_add(ArchiveSplit *split, const void *bytes, size_t size, Error *error) {
    const uint8_t *from = bytes;
    while (size > 0) {
        size_t n = MIN_OF(size, split->wanted - split->size);
        memcpy(split->data + split->size, from, n);
        split->size += n;
        from += n;
        size -= n;
        int r = split->size == split->wanted ? take(split, error) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

int archive_split_end(ArchiveSplit *split, const ArchiveParts **parts, Error *error) {
    int r = split->ended && split->size == 0 ? end_part(split, error) : cut(error);
    if (r < 0)
        return r;
    *parts = &split->parts;
    return 0;
}

/* ---- reading ---- */

static int read_head(int fd, uint8_t head[ARCHIVE_HEAD_BYTES], Error *error) {
    if (fd_read_full(fd, head, ARCHIVE_HEAD_BYTES) != ARCHIVE_HEAD_BYTES)
        return cut(error);
    return archive_check_head(head, error);
}

/* 1: a record with what follows, in a room; 0: the end of the file. */
static int read_record(int fd, uint8_t *data, ArchiveRecord *record, size_t *size, Error *error) {
    ssize_t n = fd_read_full(fd, data, ARCHIVE_RECORD_BYTES);
    int r;
    if (n == 0)
        return 0;
    if (n != ARCHIVE_RECORD_BYTES)
        return n < 0 ? error_set_errno(error, (int)-n, "cannot read the archive") : cut(error);
    r = archive_read_record(data, record, error);
    if (r < 0)
        return r;
    n = fd_read_full(fd, data + ARCHIVE_RECORD_BYTES, record->stored_bytes);
    if (n != (ssize_t)record->stored_bytes)
        return cut(error);
    *size = ARCHIVE_RECORD_BYTES + record->stored_bytes;
    return 1;
}

int archive_parts_manifest(int fd, json_t **manifest, Error *error) {
    _cleanup_free_ uint8_t *data = room_new();
    uint8_t head[ARCHIVE_HEAD_BYTES];
    ArchiveRecord record = {.kind = ARCHIVE_END};
    size_t size;
    int r = lseek(fd, 0, SEEK_SET) < 0 ? error_set_errno(error, errno, "cannot read the archive")
                                       : read_head(fd, head, error);
    if (r >= 0)
        r = read_record(fd, data, &record, &size, error);
    return r < 0 ? r : parse_manifest(data, &record, manifest, error);
}

static int join_part(int fd, int out, bool first, uint8_t *data, uint64_t *chunks, Error *error) {
    uint8_t head[ARCHIVE_HEAD_BYTES];
    ArchiveRecord record;
    size_t size;
    int r = 0;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return error_set_errno(error, errno, "cannot read the archive");
    if (first) {
        r = read_head(fd, head, error);
        if (r >= 0 && (r = fd_write_full(out, head, sizeof(head))) < 0)
            return error_set_errno(error, -r, "cannot write the archive");
    }
    while (r >= 0 && (r = read_record(fd, data, &record, &size, error)) > 0) {
        *chunks += record.kind == ARCHIVE_CHUNK;
        if (record.kind == ARCHIVE_END) {
            record.index = *chunks;
            archive_write_record(&record, data);
        }
        r = fd_write_full(out, data, size);
        if (r < 0)
            return error_set_errno(error, -r, "cannot write the archive");
    }
    return r;
}

int archive_parts_join(const int *fds, size_t count, int out, Error *error) {
    _cleanup_free_ uint8_t *data = room_new();
    uint64_t chunks = 0;
    int r = 0;
    for (size_t i = 0; r >= 0 && i < count; i++)
        if (fds[i] >= 0)
            r = join_part(fds[i], out, i == 0, data, &chunks, error);
    return r;
}
