/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: blocks of 512 bytes. A header may be preceded by others that only say more about it
 * (pax records, GNU long names); they are gathered in a TarPax and then laid over it. The map of a
 * sparse file is checked before its data is given out: ordered, disjoint, inside the file, and as
 * long together as the data that the archive holds. */

#include "agent/files/tar.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/files/tar_pax.h"

void tar_reader_init(TarReader *reader, int fd) {
    reader->fd = fd;
    reader->data_left = reader->padding = 0;
    reader->start = reader->end = 0;
}

void tar_entry_free(TarEntry *entry) {
    free(entry->segments.list);
    entry->segments = (TarSegments){0};
}

/* At least one byte in the buffer; 0 at the end of the stream, 1, or a negative errno. */
static int fill(TarReader *reader) {
    if (reader->start < reader->end)
        return 1;
    ssize_t n;
    do
        n = read(reader->fd, reader->buffer, sizeof(reader->buffer));
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 ? -errno : 0;
    reader->start = 0;
    reader->end = (size_t)n;
    return 1;
}

/* Up to `size` bytes of the stream, wherever they lie. */
static ssize_t read_part(TarReader *reader, uint64_t size, const uint8_t **data) {
    int r = fill(reader);
    if (r <= 0)
        return r;
    size_t part = (size_t)MIN_OF(size, (uint64_t)(reader->end - reader->start));
    *data = reader->buffer + reader->start;
    reader->start += part;
    return (ssize_t)part;
}

static int cut_short(Result *result) {
    return result_say(result, EBADMSG, "the archive ends in the middle");
}

static int malformed(Result *result, const char *what) {
    return result_say(result, EBADMSG, "the archive is malformed: %s", what);
}

/* Exactly `size` bytes; with out NULL they are skipped. 0 or a negative errno; -ENODATA when the
 * stream ended before the first. */
static int read_exactly(TarReader *reader, void *out, uint64_t size) {
    uint64_t done = 0;
    while (done < size) {
        const uint8_t *data;
        ssize_t n = read_part(reader, size - done, &data);
        if (n <= 0)
            return n < 0 ? (int)n : done == 0 ? -ENODATA : -EBADMSG;
        if (out)
            memcpy((uint8_t *)out + done, data, (size_t)n);
        done += (uint64_t)n;
    }
    return 0;
}

ssize_t tar_reader_data(TarReader *reader, uint64_t size, const uint8_t **data, Result *result) {
    ssize_t n = 0;
    if (MIN_OF(size, reader->data_left) == 0)
        return 0;
    n = read_part(reader, MIN_OF(size, reader->data_left), data);
    if (n == 0)
        return cut_short(result);
    if (n < 0)
        return result_fail(result, (int)-n, "cannot read the archive");
    reader->data_left -= (uint64_t)n;
    return n;
}

/* ---- headers ---- */

/* Octal with blanks or a NUL at the end, or, with the first bit set, big-endian binary (GNU). */
static int parse_number(const uint8_t *field, size_t size, uint64_t *value) {
    uint64_t number = 0;
    size_t i = 0;
    if (field[0] & 0x80) {
        if (field[0] != 0x80)
            return -EBADMSG; /* negative or larger than anything */
        for (i = 1; i < size; i++) {
            if (number >> 55)
                return -EBADMSG;
            number = number << 8 | field[i];
        }
        *value = number;
        return 0;
    }
    while (i < size && field[i] == ' ')
        i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++) {
        if (number >> 60)
            return -EBADMSG;
        number = number << 3 | (uint64_t)(field[i] - '0');
    }
    for (; i < size; i++)
        if (field[i] != ' ' && field[i] != '\0')
            return -EBADMSG;
    *value = number;
    return 0;
}

/* As a number, but GNU's binary form may be negative here: before 1970. */
static int parse_time(const uint8_t *field, size_t size, int64_t *value) {
    uint64_t number = UINT64_MAX;
    int r;
    if (field[0] != 0xff) {
        r = parse_number(field, size, &number);
        *value = (int64_t)MIN_OF(number, (uint64_t)INT64_MAX);
        return r;
    }
    for (size_t i = 1; i < size; i++)
        number = number << 8 | field[i];
    *value = (int64_t)number;
    return *value < 0 ? 0 : -EBADMSG;
}

static bool checksum_is_good(const uint8_t *block) {
    uint64_t wanted;
    uint64_t sum = 0;
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : block[i];
    return parse_number(block + 148, 8, &wanted) == 0 && wanted == sum;
}

static bool is_zero(const uint8_t *block) {
    for (size_t i = 0; i < TAR_BLOCK; i++)
        if (block[i])
            return false;
    return true;
}

/* "prefix/name" of a ustar header */
static void read_name(const uint8_t *block, char *name) {
    bool ustar = memcmp(block + 257, "ustar\0", 6) == 0; /* GNU has blanks here, and no prefix */
    int prefix = ustar ? (int)strnlen((const char *)block + 345, 155) : 0;
    (void)snprintf(name, TAR_NAME_MAX, "%.*s%s%.*s", prefix, (const char *)block + 345,
                   prefix ? "/" : "", (int)strnlen((const char *)block, 100), (const char *)block);
}

static int read_header(const uint8_t *block, TarEntry *entry, uint64_t *stored) {
    uint64_t mode;
    if (parse_number(block + 100, 8, &mode) < 0 || parse_number(block + 124, 12, stored) < 0 ||
        parse_time(block + 136, 12, &entry->mtime_sec) < 0 || *stored > INT64_MAX - TAR_BLOCK)
        return -EBADMSG;
    read_name(block, entry->name);
    (void)snprintf(entry->link, sizeof(entry->link), "%.*s",
                   (int)strnlen((const char *)block + 157, 100), (const char *)block + 157);
    entry->mode = (unsigned)(mode & 07777);
    entry->mtime_nsec = 0;
    entry->size = *stored;
    return 0;
}

/* ---- what comes before a header ---- */

static int read_text_entry(TarReader *reader, uint64_t size, char **text, Result *result) {
    if (size > TAR_RECORDS_MAX)
        return malformed(result, "a header of its own size");
    char *copy = malloc(size + 1);
    if (!copy)
        return result_fail(result, ENOMEM, "the archive");
    int r = read_exactly(reader, copy, size);
    if (r == 0)
        r = read_exactly(reader, NULL, -size & (TAR_BLOCK - 1));
    if (r < 0) {
        free(copy);
        return cut_short(result);
    }
    copy[size] = '\0';
    *text = copy;
    return 0;
}

static int read_extra(TarReader *reader, char type, uint64_t size, TarPax *pax, Result *result) {
    char *text = NULL;
    int r = read_text_entry(reader, size, &text, result);
    if (r < 0)
        return r;
    if (type == 'L' || type == 'K') {
        char **name = type == 'L' ? &pax->name : &pax->link;
        free(*name);
        *name = text;
        return strlen(text) < TAR_NAME_MAX ? 0 : malformed(result, "a name is too long");
    }
    if (type == 'x')
        r = tar_pax_parse(pax, text, size);
    free(text); /* of a global header nothing is of use here */
    return r < 0 ? malformed(result, "extended header") : 0;
}

/* ---- sparse maps ---- */

/* One line with a number, counted against the data. */
static int read_map_number(TarReader *reader, uint64_t *used, uint64_t *value) {
    char text[24];
    size_t n = 0;
    for (;;) {
        char byte;
        if (reader->data_left == 0 || n == sizeof(text) || read_exactly(reader, &byte, 1) < 0)
            return -EBADMSG;
        reader->data_left--;
        (*used)++;
        if (byte == '\n')
            return tar_decimal(text, text + n, value) ? 0 : -EBADMSG;
        text[n++] = byte;
    }
}

/* Sparse 1.0: the map is at the beginning of the data, padded to a block. */
static int read_map(TarReader *reader, TarSegments *segments) {
    uint64_t used = 0, n, offset, size;
    int r = read_map_number(reader, &used, &n);
    if (r < 0 || n > TAR_SEGMENTS_MAX)
        return -EBADMSG;
    for (uint64_t i = 0; r == 0 && i < n; i++) {
        r = read_map_number(reader, &used, &offset);
        if (r == 0)
            r = read_map_number(reader, &used, &size);
        if (r == 0)
            r = tar_segments_add(segments, offset, size);
    }
    uint64_t rest = -used & (TAR_BLOCK - 1);
    if (r < 0 || rest > reader->data_left || read_exactly(reader, NULL, rest) < 0)
        return r < 0 ? r : -EBADMSG;
    reader->data_left -= rest;
    return 0;
}

static bool map_is_good(const TarEntry *entry, uint64_t stored) {
    uint64_t end = 0, sum = 0;
    for (size_t i = 0; i < entry->segments.n; i++) {
        const TarSegment *segment = &entry->segments.list[i];
        if (segment->offset < end || segment->offset > entry->size ||
            segment->size > entry->size - segment->offset)
            return false;
        end = segment->offset + segment->size;
        sum += segment->size;
    }
    return sum == stored;
}

static int lay_out(TarReader *reader, TarPax *pax, TarEntry *entry, Result *result) {
    bool version_1 = pax->sparse_major == 1 && pax->sparse_minor == 0;
    int r = 0;
    if (version_1 || pax->segments.n > 0) {
        if (!pax->has_real_size || entry->type != TAR_FILE)
            return malformed(result, "sparse file");
        entry->size = pax->real_size;
        entry->segments = pax->segments;
        pax->segments = (TarSegments){0};
        if (version_1)
            r = read_map(reader, &entry->segments);
    } else if (entry->size > 0) {
        r = tar_segments_add(&entry->segments, 0, entry->size);
    }
    if (r < 0 || entry->size > INT64_MAX || !map_is_good(entry, reader->data_left))
        return malformed(result, "sparse map");
    return 0;
}

/* ---- entries ---- */

static int set_type(TarEntry *entry, char type) {
    if (type == '\0' || type == '7')
        type = '0';
    if (!strchr("0123456", type))
        return -EBADMSG;
    entry->type = type == '4' ? TAR_DEVICE : (TarType)type;
    /* Old archives mark folders by a slash only. */
    if (type == '0' && entry->name[0] && entry->name[strlen(entry->name) - 1] == '/')
        entry->type = TAR_FOLDER;
    return 0;
}

static void lay_over(const TarPax *pax, TarEntry *entry, uint64_t *stored) {
    const char *name = pax->sparse_name ? pax->sparse_name : pax->name;
    if (name)
        copy_text(entry->name, sizeof(entry->name), name);
    if (pax->link)
        copy_text(entry->link, sizeof(entry->link), pax->link);
    if (pax->has_size)
        *stored = entry->size = pax->size;
    if (pax->has_mtime) {
        entry->mtime_sec = pax->mtime_sec;
        entry->mtime_nsec = pax->mtime_nsec;
    }
}

static int make_entry(TarReader *reader, char type, uint64_t stored, TarPax *pax, TarEntry *entry,
                      Result *result) {
    lay_over(pax, entry, &stored);
    if (set_type(entry, type) < 0)
        return result_say(result, ENOTSUP,
                          "the archive holds %s, of a type ('%c') that is not copied", entry->name,
                          type >= 32 && type < 127 ? type : '?');
    if (entry->type != TAR_FILE)
        stored = entry->type == TAR_HARD_LINK ? stored : 0;
    reader->data_left = entry->type == TAR_FILE ? stored : 0;
    reader->padding = -stored & (TAR_BLOCK - 1);
    if (entry->type == TAR_HARD_LINK) { /* pax lets links carry the file's data; it is not needed */
        reader->data_left = stored;
        return 0;
    }
    return entry->type == TAR_FILE ? lay_out(reader, pax, entry, result) : 0;
}

static int skip_rest(TarReader *reader, Result *result) {
    if (read_exactly(reader, NULL, reader->data_left) < 0 ||
        read_exactly(reader, NULL, reader->padding) < 0)
        return cut_short(result);
    reader->data_left = reader->padding = 0;
    return 0;
}

static int next_entry(TarReader *reader, TarPax *pax, TarEntry *entry, Result *result) {
    for (;;) {
        uint8_t block[TAR_BLOCK];
        uint64_t stored;
        int r = read_exactly(reader, block, sizeof(block));
        if (r == 0 && is_zero(block))
            return 0; /* without this block at its end, an archive was cut off */
        if (r < 0)
            return cut_short(result);
        if (!checksum_is_good(block) || read_header(block, entry, &stored) < 0)
            return malformed(result, "header");
        char type = (char)block[156];
        if (!strchr("xgLK", type) || type == '\0') {
            r = make_entry(reader, type, stored, pax, entry, result);
            return r < 0 ? r : 1;
        }
        r = read_extra(reader, type, stored, pax, result);
        if (r < 0)
            return r;
    }
}

void tar_reader_drain(TarReader *reader) {
    const uint8_t *data;
    while (read_part(reader, UINT64_MAX, &data) > 0)
        ;
}

int tar_reader_next(TarReader *reader, TarEntry *entry, Result *result) {
    TarPax pax = {0};
    int r = skip_rest(reader, result);
    *entry = (TarEntry){0};
    if (r == 0)
        r = next_entry(reader, &pax, entry, result);
    tar_pax_free(&pax);
    if (r < 0)
        tar_entry_free(entry);
    return r;
}
