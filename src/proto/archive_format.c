/* SPDX-License-Identifier: Apache-2.0 */

#include "proto/archive_format.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"

static const char magic[8] = "RAMETARC"; /* without a NUL */
#define FAILURE_MAX 65536

static const char KINDS[][5] = {
    [ARCHIVE_MANIFEST] = "MANI",
    [ARCHIVE_CHUNK] = "CHNK",
    [ARCHIVE_FAILURE] = "FAIL",
    [ARCHIVE_END] = "ENDS",
};

static void put(uint8_t *p, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; i++)
        p[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *p, size_t size) {
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)p[i] << 8 * i;
    return value;
}

static int damaged(Error *error, const char *why) {
    error_set(error, ERROR_CORRUPT, EBADMSG, "the archive is damaged: %s", why);
    error_set_hint(error, "fetch or export it again");
    return -EBADMSG;
}

bool archive_is_head(const void *data, size_t size) {
    return size >= ARCHIVE_HEAD_BYTES && memcmp(data, magic, sizeof(magic)) == 0;
}

int archive_check_head(const uint8_t head[ARCHIVE_HEAD_BYTES], Error *error) {
    uint64_t version = get(head + 8, 4);
    if (!archive_is_head(head, ARCHIVE_HEAD_BYTES))
        return error_set(error, ERROR_CORRUPT, EBADMSG, "it is no archive of an image or snapshot");
    if (version >= ARCHIVE_VERSION_PLAIN && version <= ARCHIVE_VERSION && get(head + 12, 4) == 0)
        return 0;
    if (version <= ARCHIVE_VERSION)
        return damaged(error, "its head is none that was ever written");
    error_set(error, ERROR_UNSUPPORTED, ENOTSUP,
              "the archive has format %llu, and this version of ramet reads %d",
              (unsigned long long)version, ARCHIVE_VERSION);
    error_set_hint(error, "import it with a newer ramet");
    return -ENOTSUP;
}

void archive_write_head(unsigned version, uint8_t head[ARCHIVE_HEAD_BYTES]) {
    memset(head, 0, ARCHIVE_HEAD_BYTES);
    memcpy(head, magic, sizeof(magic));
    put(head + 8, version, 4);
}

void archive_write_record(const ArchiveRecord *record, uint8_t bytes[ARCHIVE_RECORD_BYTES]) {
    memset(bytes, 0, ARCHIVE_RECORD_BYTES);
    memcpy(bytes, KINDS[record->kind], 4);
    put(bytes + 4, record->member, 4);
    put(bytes + 8, record->index, 8);
    put(bytes + 16, record->raw_bytes, 4);
    put(bytes + 20, record->stored_bytes, 4);
    memcpy(bytes + 32, record->map, sizeof(record->map));
}

/* The last page of a file may be shorter, so the content may lack up to a page. */
static bool fits_map(const ArchiveRecord *record) {
    uint64_t pages = 0;
    for (size_t i = 0; i < sizeof(record->map); i++)
        pages += (uint64_t)__builtin_popcount(record->map[i]);
    return pages > 0 && record->raw_bytes <= pages * ARCHIVE_PAGE_BYTES &&
           record->raw_bytes > (pages - 1) * ARCHIVE_PAGE_BYTES;
}

static int check_sizes(const ArchiveRecord *record, Error *error) {
    uint32_t most = record->kind == ARCHIVE_MANIFEST  ? ARCHIVE_MANIFEST_MAX
                    : record->kind == ARCHIVE_FAILURE ? FAILURE_MAX
                    : record->kind == ARCHIVE_CHUNK   ? (uint32_t)ARCHIVE_STORED_MAX
                                                      : 0;
    if ((record->kind != ARCHIVE_CHUNK && record->member > 0) ||
        (record->kind != ARCHIVE_CHUNK && record->kind != ARCHIVE_END && record->index > 0))
        return damaged(error, "a record says what no such record says");
    if (record->stored_bytes > most)
        return damaged(error, "a record is longer than any may be");
    if (record->kind == ARCHIVE_CHUNK)
        return record->stored_bytes > 0 && fits_map(record)
                   ? 0
                   : damaged(error, "a chunk does not fit its map of pages");
    return record->raw_bytes == record->stored_bytes ? 0 : damaged(error, "a record has two sizes");
}

int archive_read_record(const uint8_t bytes[ARCHIVE_RECORD_BYTES], ArchiveRecord *record,
                        Error *error) {
    ArchiveRecord found = {.member = (uint32_t)get(bytes + 4, 4),
                           .index = get(bytes + 8, 8),
                           .raw_bytes = (uint32_t)get(bytes + 16, 4),
                           .stored_bytes = (uint32_t)get(bytes + 20, 4)};
    size_t kind = 0;
    int r;
    while (kind < ARRAY_SIZE(KINDS) && memcmp(bytes, KINDS[kind], 4) != 0)
        kind++;
    if (kind == ARRAY_SIZE(KINDS) || get(bytes + 24, 8) != 0)
        return damaged(error, "something stands in it that is no record");
    found.kind = (ArchiveRecordKind)kind;
    memcpy(found.map, bytes + 32, sizeof(found.map));
    r = check_sizes(&found, error);
    if (r >= 0)
        *record = found;
    return r;
}

/* From the end: what stands there must be exactly as long as it says. */
int archive_find_failure(const void *tail, size_t size, Error *error) {
    const uint8_t *bytes = tail;
    _cleanup_json_ json_t *json = NULL;
    ArchiveRecord record;
    for (size_t at = size; at-- > 0;) {
        if (size - at < ARCHIVE_RECORD_BYTES || memcmp(bytes + at, "FAIL", 4) != 0)
            continue;
        if (archive_read_record(bytes + at, &record, NULL) < 0 ||
            size - at - ARCHIVE_RECORD_BYTES != record.stored_bytes)
            continue;
        if (json_parse("failure", (const char *)bytes + at + ARCHIVE_RECORD_BYTES,
                       record.stored_bytes, &json, NULL) < 0)
            return 0;
        return json_to_error(json, error) < 0 ? 0 : 1;
    }
    return 0;
}
