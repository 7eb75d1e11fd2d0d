/* SPDX-License-Identifier: Apache-2.0 */
/* Plain ustar headers, with a pax extended header before those entries that need one: long names,
 * large files, times
 * that are no whole seconds from 1970 to 2242, and sparse files, which are written in GNU's
 * format 1.0 (a map in front of the data). */

#include "agent/files/tar_write.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define OCTAL_SIZE_MAX 077777777777ull

void tar_writer_init(TarWriter *writer, int fd) {
    writer->fd = fd;
    writer->error = 0;
    writer->used = 0;
}

static void flush(TarWriter *writer) {
    if (writer->error == 0)
        writer->error = write_all(writer->fd, writer->buffer, writer->used);
    writer->used = 0;
}

void tar_write(TarWriter *writer, const void *data, size_t size) {
    const uint8_t *bytes = data;
    while (size > 0) {
        size_t part = MIN_OF(size, sizeof(writer->buffer) - writer->used);
        memcpy(writer->buffer + writer->used, bytes, part);
        writer->used += part;
        bytes += part;
        size -= part;
        if (writer->used == sizeof(writer->buffer))
            flush(writer);
    }
}

void tar_write_padding(TarWriter *writer, uint64_t size) {
    static const uint8_t zeroes[TAR_BLOCK];
    tar_write(writer, zeroes, (size_t)(-size & (TAR_BLOCK - 1)));
}

int tar_write_end(TarWriter *writer) {
    static const uint8_t zeroes[2 * TAR_BLOCK];
    tar_write(writer, zeroes, sizeof(zeroes));
    flush(writer);
    return writer->error;
}

static void put_octal(uint8_t *field, size_t size, uint64_t value) {
    char text[24];
    (void)snprintf(text, sizeof(text), "%0*llo", (int)size - 1, (unsigned long long)value);
    memcpy(field, text + (strlen(text) - (size - 1)), size - 1);
}

static void put_text(uint8_t *field, size_t size, const char *text) {
    memcpy(field, text, strnlen(text, size));
}

static void write_block(TarWriter *writer, char type, const char *name, const char *link,
                        const struct stat *file, uint64_t stored) {
    uint8_t block[TAR_BLOCK] = {0};
    unsigned sum = 0;
    bool old = file->st_mtim.tv_sec < 0;
    put_text(block, 100, name);
    put_octal(block + 100, 8, file->st_mode & 07777);
    put_octal(block + 108, 8, file->st_uid & 07777777);
    put_octal(block + 116, 8, file->st_gid & 07777777);
    put_octal(block + 124, 12, MIN_OF(stored, OCTAL_SIZE_MAX));
    put_octal(block + 136, 12, old ? 0 : MIN_OF((uint64_t)file->st_mtim.tv_sec, OCTAL_SIZE_MAX));
    memset(block + 148, ' ', 8);
    block[156] = (uint8_t)type;
    put_text(block + 157, 100, link);
    memcpy(block + 257, "ustar\00000", 8); /* NOLINT(bugprone-not-null-terminated-result) */
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += block[i];
    (void)snprintf((char *)block + 148, 8, "%06o", sum);
    tar_write(writer, block, sizeof(block));
}

/* ---- extended headers ---- */

typedef struct Records {
    char text[2 * TAR_NAME_MAX + 1024];
    size_t size;
} Records;

/* "LENGTH KEY=VALUE\n", where LENGTH counts its own digits */
static void add_record(Records *records, const char *key, const char *value) {
    size_t rest = strlen(key) + strlen(value) + 3;
    size_t length = rest + 1;
    char digits[24];
    while ((size_t)snprintf(digits, sizeof(digits), "%zu", length) + rest != length)
        length++;
    if (records->size + length >= sizeof(records->text))
        return;
    records->size +=
        (size_t)snprintf(records->text + records->size, sizeof(records->text) - records->size,
                         "%zu %s=%s\n", length, key, value);
}

static void add_number(Records *records, const char *key, uint64_t value) {
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    add_record(records, key, text);
}

/* "-1.5": seconds and a fraction, where the header's field can hold neither. */
static void add_time(Records *records, const struct timespec *time) {
    bool negative = time->tv_sec < 0;
    /* seconds are rounded down: -1.5 is {-2, .5} */
    bool fraction = negative && time->tv_nsec > 0;
    uint64_t seconds =
        negative ? -(uint64_t)(time->tv_sec + (fraction ? 1 : 0)) : (uint64_t)time->tv_sec;
    long nsec = fraction ? 1000000000 - time->tv_nsec : time->tv_nsec;
    char text[48];
    (void)snprintf(text, sizeof(text), "%s%llu.%09ld", negative ? "-" : "",
                   (unsigned long long)seconds, nsec);
    add_record(records, "mtime", text);
}

/* The map of a sparse file, as text: number of segments, then offset and size of each, a line each.
 */
static char *make_map(const TarSegments *sparse, size_t *size) {
    size_t room = 24 + sparse->n * 48 + TAR_BLOCK, n;
    char *map = calloc(1, room);
    if (!map)
        return NULL;
    n = (size_t)snprintf(map, room, "%zu\n", sparse->n);
    for (size_t i = 0; i < sparse->n; i++)
        n += (size_t)snprintf(map + n, room - n, "%llu\n%llu\n",
                              (unsigned long long)sparse->list[i].offset,
                              (unsigned long long)sparse->list[i].size);
    *size = n + (-n & (TAR_BLOCK - 1));
    return map;
}

void tar_write_header(TarWriter *writer, TarType type, const char *name, const char *link,
                      const struct stat *file, const TarSegments *sparse) {
    Records records = {.size = 0};
    uint64_t stored = type == TAR_FILE ? (uint64_t)file->st_size : 0;
    _cleanup_free_ char *map = NULL;
    size_t map_size = 0;
    if (sparse) {
        map = make_map(sparse, &map_size);
        stored = map_size;
        for (size_t i = 0; i < sparse->n; i++)
            stored += sparse->list[i].size;
        add_record(&records, "GNU.sparse.major", "1");
        add_record(&records, "GNU.sparse.minor", "0");
        add_record(&records, "GNU.sparse.name", name);
        add_number(&records, "GNU.sparse.realsize", (uint64_t)file->st_size);
    }
    if (sparse && !map) {
        writer->error = -ENOMEM;
        return;
    }
    if (strlen(name) > 100)
        add_record(&records, "path", name);
    if (strlen(link) > 100)
        add_record(&records, "linkpath", link);
    if (stored > OCTAL_SIZE_MAX)
        add_number(&records, "size", stored);
    if (file->st_mtim.tv_sec < 0 || (uint64_t)file->st_mtim.tv_sec > OCTAL_SIZE_MAX ||
        file->st_mtim.tv_nsec != 0)
        add_time(&records, &file->st_mtim);
    if (records.size > 0) {
        write_block(writer, 'x', "PaxHeader", "", file, records.size);
        tar_write(writer, records.text, records.size);
        tar_write_padding(writer, records.size);
    }
    write_block(writer, (char)type, name, link, file, stored);
    tar_write(writer, map, map_size);
}
