/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/tar_pax.h"

#include <errno.h>
#include <string.h>

void tar_pax_free(TarPax *pax) {
    free(pax->name);
    free(pax->link);
    free(pax->sparse_name);
    free(pax->segments.list);
    *pax = (TarPax){0};
}

int tar_segments_add(TarSegments *segments, uint64_t offset, uint64_t size) {
    if (segments->n >= TAR_SEGMENTS_MAX)
        return -E2BIG;
    if ((segments->n & (segments->n - 1)) == 0) { /* grows at powers of two */
        size_t room = segments->n ? 2 * segments->n : 1;
        TarSegment *list = realloc(segments->list, room * sizeof(*list));
        if (!list)
            return -ENOMEM;
        segments->list = list;
    }
    segments->list[segments->n++] = (TarSegment){offset, size};
    return 0;
}

bool tar_decimal(const char *text, const char *end, uint64_t *value) {
    uint64_t number = 0;
    if (text == end)
        return false;
    for (; text < end; text++) {
        if (*text < '0' || *text > '9' || number > (INT64_MAX - 9) / 10)
            return false;
        number = number * 10 + (uint64_t)(*text - '0');
    }
    *value = number;
    return true;
}

static int parse_name(const char *value, const char *end, char **name) {
    size_t size = (size_t)(end - value);
    if (size == 0 || size >= TAR_NAME_MAX || memchr(value, '\0', size))
        return -EBADMSG;
    char *copy = malloc(size + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, value, size);
    copy[size] = '\0';
    free(*name);
    *name = copy;
    return 0;
}

/* "-123.456": seconds and a fraction */
static int parse_time(TarPax *pax, const char *value, const char *end) {
    bool negative = value < end && *value == '-';
    const char *point = memchr(value, '.', (size_t)(end - value));
    uint64_t seconds;
    uint32_t nsec = 0, unit = 100000000;
    if (!tar_decimal(value + negative, point ? point : end, &seconds))
        return -EBADMSG;
    for (const char *digit = point ? point + 1 : end; digit < end; digit++, unit /= 10) {
        if (*digit < '0' || *digit > '9')
            return -EBADMSG;
        nsec += (uint32_t)(*digit - '0') * unit;
    }
    pax->has_mtime = true;
    pax->mtime_sec = negative ? -(int64_t)seconds : (int64_t)seconds;
    pax->mtime_nsec = nsec;
    if (negative && nsec > 0) {
        pax->mtime_sec--;
        pax->mtime_nsec = 1000000000 - nsec;
    }
    return 0;
}

/* Sparse 0.1: "offset,size,offset,size…" */
static int parse_map(TarPax *pax, const char *value, const char *end) {
    uint64_t numbers[2];
    size_t n = 0;
    int r = 0;
    pax->segments.n = 0;
    while (r == 0 && value < end) {
        const char *comma = memchr(value, ',', (size_t)(end - value));
        if (!tar_decimal(value, comma ? comma : end, &numbers[n++ % 2]))
            return -EBADMSG;
        if (n % 2 == 0)
            r = tar_segments_add(&pax->segments, numbers[0], numbers[1]);
        value = comma ? comma + 1 : end;
    }
    return r < 0 ? r : n % 2 ? -EBADMSG : 0;
}

/* Sparse 0.0: offset and numbytes by turns */
static int parse_pair(TarPax *pax, uint64_t number, bool is_offset) {
    if (is_offset)
        return tar_segments_add(&pax->segments, number, 0);
    if (pax->segments.n == 0)
        return -EBADMSG;
    pax->segments.list[pax->segments.n - 1].size = number;
    return 0;
}

static int parse_number(TarPax *pax, const char *key, uint64_t number) {
    if (strcmp(key, "size") == 0) {
        pax->has_size = true;
        pax->size = number;
    } else if (strcmp(key, "GNU.sparse.realsize") == 0 || strcmp(key, "GNU.sparse.size") == 0) {
        pax->has_real_size = true;
        pax->real_size = number;
    } else if (strcmp(key, "GNU.sparse.major") == 0) {
        pax->sparse_major = number;
    } else if (strcmp(key, "GNU.sparse.minor") == 0) {
        pax->sparse_minor = number;
    } else if (strcmp(key, "GNU.sparse.offset") == 0) {
        return parse_pair(pax, number, true);
    } else if (strcmp(key, "GNU.sparse.numbytes") == 0) {
        return parse_pair(pax, number, false);
    }
    return 0;
}

static bool is_number_key(const char *key) {
    return strcmp(key, "size") == 0 ||
           (strncmp(key, "GNU.sparse.", 11) == 0 && strcmp(key + 11, "name") != 0 &&
            strcmp(key + 11, "map") != 0);
}

static int parse_record(TarPax *pax, const char *key, const char *value, const char *end) {
    uint64_t number;
    if (strcmp(key, "path") == 0)
        return parse_name(value, end, &pax->name);
    if (strcmp(key, "linkpath") == 0)
        return parse_name(value, end, &pax->link);
    if (strcmp(key, "GNU.sparse.name") == 0)
        return parse_name(value, end, &pax->sparse_name);
    if (strcmp(key, "GNU.sparse.map") == 0)
        return parse_map(pax, value, end);
    if (strcmp(key, "mtime") == 0)
        return parse_time(pax, value, end);
    if (is_number_key(key))
        return tar_decimal(value, end, &number) ? parse_number(pax, key, number) : -EBADMSG;
    return 0; /* owners, comments, extended attributes: not ours */
}

int tar_pax_parse(TarPax *pax, const char *records, size_t size) {
    const char *end = records + size;
    while (records < end) {
        const char *blank = memchr(records, ' ', (size_t)(end - records));
        uint64_t length;
        char key[32] = "";
        if (!blank || !tar_decimal(records, blank, &length) || length > (size_t)(end - records) ||
            length < (size_t)(blank - records) + 3 || records[length - 1] != '\n')
            return -EBADMSG;
        const char *last = records + length - 1;
        const char *equals = memchr(blank + 1, '=', (size_t)(last - blank - 1));
        if (!equals)
            return -EBADMSG;
        size_t key_size = (size_t)(equals - blank - 1);
        if (key_size < sizeof(key)) { /* none that we know is longer */
            memcpy(key, blank + 1, key_size);
            int r = parse_record(pax, key, equals + 1, last);
            if (r < 0)
                return r;
        }
        records += length;
    }
    return 0;
}
