/* SPDX-License-Identifier: Apache-2.0 */
/* The table is on a disk that anybody may have made, so every number is checked before it is used:
 * what lies where, that nothing overlaps, and that no chain goes on for ever.
 *
 * Only whole sectors are read and written, from aligned memory: the descriptor may be O_DIRECT,
 * which a disk with a mounted partition needs, since a buffer's page may hold a file system's data
 * as well. Writes are ordered so that the table is a valid one between any two of them. */

#include "agent/disk/partition_table.h"

#include <errno.h>
#include <string.h>

#define TABLE_BYTES (64u * 1024u) /* of a GPT's entries; usual are 16 KiB */
#define LOGICAL_MAX 64u
#define END_ALIGN 8u /* sectors: pages, and blocks of file systems */
#define OLD_SECTORS_MAX UINT32_MAX

typedef struct Table {
    int fd;
    uint64_t disk_sectors;
    unsigned number;
    uint64_t start;
    uint64_t *size;
    Result *result;
} Table;

static uint64_t get_le(const uint8_t *p, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;)
        value = value << 8 | p[i];
    return value;
}

static void put_le(uint8_t *p, size_t bytes, uint64_t value) {
    for (size_t i = 0; i < bytes; i++, value >>= 8)
        p[i] = (uint8_t)value;
}

static int damaged(const Table *table, const char *what) {
    return result_say(table->result, EBADMSG, "the partition table is damaged: %s", what);
}

static int not_last(const Table *table) {
    return result_say(table->result, ENOSPC, "partition %u is not the last one", table->number);
}

static int read_sectors(const Table *table, uint64_t at, void *data, size_t sectors) {
    size_t size = sectors * SECTOR_BYTES;
    if (at >= table->disk_sectors || sectors > table->disk_sectors - at)
        return damaged(table, "it leads beyond the disk");
    ssize_t n = pread(table->fd, data, size, (off_t)(at * SECTOR_BYTES));
    if (n == (ssize_t)size)
        return 0;
    return result_fail(table->result, n < 0 ? errno : EIO, "cannot read the partition table");
}

static int write_sectors(const Table *table, uint64_t at, const void *data, size_t sectors) {
    size_t size = sectors * SECTOR_BYTES;
    ssize_t n = pwrite(table->fd, data, size, (off_t)(at * SECTOR_BYTES));
    if (n == (ssize_t)size && fdatasync(table->fd) == 0)
        return 0;
    return result_fail(table->result, n < 0 || n == (ssize_t)size ? errno : EIO,
                       "cannot write the partition table");
}

/* ---- the old kind: 4 entries of 16 bytes at 446 ---- */

typedef struct OldTable {
    _Alignas(4096) uint8_t sector[SECTOR_BYTES];
    uint64_t at;
} OldTable;

static uint8_t *old_entry(OldTable *old, unsigned i) {
    return old->sector + 446 + i * (size_t)16;
}

static uint8_t old_type(OldTable *old, unsigned i) {
    return old_entry(old, i)[4];
}

static uint64_t old_start(OldTable *old, unsigned i) {
    return get_le(old_entry(old, i) + 8, 4);
}

static uint64_t old_size(OldTable *old, unsigned i) {
    return get_le(old_entry(old, i) + 12, 4);
}

static bool old_is_extended(OldTable *old, unsigned i) {
    uint8_t type = old_type(old, i);
    return type == 0x05 || type == 0x0f || type == 0x85;
}

/* The end's cylinder, head and sector say "beyond what these can tell". */
static void old_set_size(OldTable *old, unsigned i, uint64_t size) {
    memcpy(old_entry(old, i) + 5, "\xfe\xff\xff", 3);
    put_le(old_entry(old, i) + 12, 4, size);
}

static int old_read(const Table *table, uint64_t at, OldTable *old) {
    int r = read_sectors(table, at, old->sector, 1);
    old->at = at;
    if (r == 0 && memcmp(old->sector + 510, "\x55\xaa", 2) != 0)
        return damaged(table, "a sector of it has no signature");
    return r;
}

static int old_write(const Table *table, const OldTable *old) {
    return write_sectors(table, old->at, old->sector, 1);
}

/* Where a partition could end at most. */
static uint64_t old_end(const Table *table) {
    return MIN_OF(table->disk_sectors, (uint64_t)OLD_SECTORS_MAX) & ~(uint64_t)(END_ALIGN - 1);
}

/* No other primary partition begins behind the one at `own`. */
static int old_check_last(const Table *table, OldTable *first, unsigned own) {
    uint64_t end = old_start(first, own) + old_size(first, own);
    for (unsigned i = 0; i < 4; i++) {
        if (i == own || old_type(first, i) == 0 || old_size(first, i) == 0)
            continue;
        if (old_start(first, i) >= end)
            return not_last(table);
        if (old_start(first, i) + old_size(first, i) > old_start(first, own))
            return damaged(table, "partitions overlap");
    }
    return 0;
}

static int extend_primary(const Table *table, OldTable *first) {
    unsigned own = table->number - 1;
    int r;
    if (old_size(first, own) == 0 || old_start(first, own) != table->start)
        return damaged(table, "it does not hold the partition that is in use");
    r = old_check_last(table, first, own);
    *table->size = old_size(first, own);
    if (r < 0 || old_end(table) <= table->start + *table->size)
        return r;
    old_set_size(first, own, old_end(table) - table->start);
    r = old_write(table, first);
    if (r == 0)
        *table->size = old_size(first, own);
    return r;
}

/* The chain of logical partitions: each link is a table whose first entry is the partition, and
 * whose second leads to the next link. */
typedef struct Chain {
    uint64_t start, end;  /* of the extended partition */
    OldTable own, before; /* the link of ours, and that which leads to it */
    bool has_own, has_before;
    uint64_t furthest; /* start of the last partition, or of the last link */
} Chain;

static int check_link(const Table *table, Chain *chain, OldTable *link, unsigned number) {
    uint64_t start = link->at + old_start(link, 0);
    if (old_size(link, 0) == 0)
        return 0;
    if (start <= link->at || start + old_size(link, 0) > chain->end)
        return damaged(table, "a logical partition leads out of the extended one");
    if (number == table->number) {
        if (start != table->start)
            return damaged(table, "it does not hold the partition that is in use");
        chain->own = *link;
        chain->has_own = true;
    }
    if (start > chain->furthest)
        chain->furthest = start;
    return 0;
}

static int walk_chain(const Table *table, Chain *chain) {
    OldTable link;
    uint64_t at = chain->start;
    for (unsigned i = 0; i < LOGICAL_MAX; i++) {
        int r = old_read(table, at, &link);
        /* the kernel does not number links that hold no partition, so these are not usual enough */
        if (r == 0 && old_size(&link, 0) == 0 && old_size(&link, 1) != 0)
            return damaged(table, "a link without a partition");
        if (r == 0)
            r = check_link(table, chain, &link, 5 + i);
        if (r < 0 || old_size(&link, 1) == 0)
            return r;
        if (5 + i + 1 == table->number) {
            chain->before = link;
            chain->has_before = true;
        }
        at = chain->start + old_start(&link, 1);
        if (at <= chain->start || at >= chain->end)
            return damaged(table, "a link leads out of the extended partition");
        if (at > chain->furthest)
            chain->furthest = at;
    }
    return damaged(table, "its chain is too long");
}

/* From the outside in, so that nothing is ever larger than what it is in. */
static int write_chain(const Table *table, OldTable *first, unsigned extended, Chain *chain) {
    uint64_t end = old_end(table);
    int r = 0;
    if (end > chain->end) {
        old_set_size(first, extended, end - chain->start);
        r = old_write(table, first);
    }
    if (r == 0 && chain->has_before) {
        old_set_size(&chain->before, 1, end - chain->own.at);
        r = old_write(table, &chain->before);
    }
    if (r < 0)
        return r;
    old_set_size(&chain->own, 0, end - table->start);
    r = old_write(table, &chain->own);
    if (r == 0)
        *table->size = end - table->start;
    return r;
}

static int extend_logical(const Table *table, OldTable *first) {
    Chain chain = {0};
    unsigned extended = 0;
    int r;
    while (extended < 4 && !(old_is_extended(first, extended) && old_size(first, extended) > 0))
        extended++;
    if (extended == 4)
        return damaged(table, "there is no extended partition");
    chain.start = old_start(first, extended);
    chain.end = chain.start + old_size(first, extended);
    r = old_check_last(table, first, extended);
    if (r == 0)
        r = walk_chain(table, &chain);
    if (r < 0)
        return r;
    if (!chain.has_own)
        return damaged(table, "it does not hold the partition that is in use");
    *table->size = old_size(&chain.own, 0);
    if (chain.furthest > table->start)
        return not_last(table);
    return old_end(table) > table->start + *table->size
               ? write_chain(table, first, extended, &chain)
               : 0;
}

/* ---- GPT ---- */

typedef struct Gpt {
    _Alignas(4096) uint8_t header[SECTOR_BYTES];
    _Alignas(4096) uint8_t entries[TABLE_BYTES];
    size_t n, entry_bytes, sectors; /* of the entries */
} Gpt;

/* As in Ethernet: the polynomial 0x04c11db7, reflected. */
static uint32_t crc32(const uint8_t *data, size_t size) {
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static uint32_t header_crc(const Gpt *gpt) {
    uint8_t copy[SECTOR_BYTES];
    memcpy(copy, gpt->header, sizeof(copy));
    put_le(copy + 16, 4, 0);
    return crc32(copy, (size_t)get_le(copy + 12, 4));
}

static uint32_t entries_crc(const Gpt *gpt) {
    return crc32(gpt->entries, gpt->n * gpt->entry_bytes);
}

static int gpt_read(const Table *table, Gpt *gpt) {
    int r = read_sectors(table, 1, gpt->header, 1);
    if (r < 0)
        return r;
    uint64_t header_bytes = get_le(gpt->header + 12, 4), at = get_le(gpt->header + 72, 8);
    gpt->n = (size_t)get_le(gpt->header + 80, 4);
    gpt->entry_bytes = (size_t)get_le(gpt->header + 84, 4);
    if (memcmp(gpt->header, "EFI PART", 8) != 0 || header_bytes < 92 ||
        header_bytes > SECTOR_BYTES || get_le(gpt->header + 16, 4) != header_crc(gpt) ||
        get_le(gpt->header + 24, 8) != 1)
        return damaged(table, "the header of the GPT");
    if (gpt->entry_bytes < 128 || gpt->entry_bytes % 8 != 0 || gpt->entry_bytes > 4096 ||
        gpt->n == 0 || gpt->n > TABLE_BYTES / gpt->entry_bytes || at < 2)
        return damaged(table, "the shape of the GPT");
    gpt->sectors = (gpt->n * gpt->entry_bytes + SECTOR_BYTES - 1) / SECTOR_BYTES;
    r = read_sectors(table, at, gpt->entries, gpt->sectors);
    if (r == 0 && get_le(gpt->header + 88, 4) != entries_crc(gpt))
        return damaged(table, "the entries of the GPT");
    return r;
}

static uint8_t *gpt_entry(Gpt *gpt, size_t i) {
    return gpt->entries + i * gpt->entry_bytes;
}

static bool gpt_is_used(Gpt *gpt, size_t i) {
    static const uint8_t none[16];
    return memcmp(gpt_entry(gpt, i), none, sizeof(none)) != 0;
}

static int gpt_check_last(const Table *table, Gpt *gpt, uint64_t last) {
    for (size_t i = 0; i < gpt->n; i++) {
        uint64_t first = get_le(gpt_entry(gpt, i) + 32, 8), end = get_le(gpt_entry(gpt, i) + 40, 8);
        if (i == table->number - 1 || !gpt_is_used(gpt, i))
            continue;
        if (first > last)
            return not_last(table);
        if (end >= table->start || end < first)
            return damaged(table, "partitions overlap");
    }
    return 0;
}

/* The header and the entries at one end of the disk. */
static int gpt_write_copy(const Table *table, Gpt *gpt, uint64_t own, uint64_t other,
                          uint64_t entries) {
    int r = write_sectors(table, entries, gpt->entries, gpt->sectors);
    put_le(gpt->header + 24, 8, own);
    put_le(gpt->header + 32, 8, other);
    put_le(gpt->header + 72, 8, entries);
    put_le(gpt->header + 88, 4, entries_crc(gpt));
    put_le(gpt->header + 16, 4, header_crc(gpt));
    return r < 0 ? r : write_sectors(table, own, gpt->header, 1);
}

/* The backup first: while the primary is being written it is what is valid. */
static int gpt_write(const Table *table, Gpt *gpt, OldTable *first) {
    uint64_t end = table->disk_sectors - 1, primary = get_le(gpt->header + 72, 8);
    int r = gpt_write_copy(table, gpt, end, 1, end - gpt->sectors);
    if (r == 0)
        r = gpt_write_copy(table, gpt, 1, end, primary);
    for (unsigned i = 0; i < 4; i++)
        if (old_type(first, i) == 0xee)
            old_set_size(first, i, MIN_OF(end, (uint64_t)OLD_SECTORS_MAX));
    return r < 0 ? r : old_write(table, first);
}

static int extend_gpt(const Table *table, Gpt *gpt, OldTable *first) {
    int r = gpt_read(table, gpt);
    if (r < 0)
        return r;
    if (table->number > gpt->n)
        return damaged(table, "it does not hold the partition that is in use");
    uint8_t *entry = gpt_entry(gpt, table->number - 1);
    if (!gpt_is_used(gpt, table->number - 1) || get_le(entry + 32, 8) != table->start)
        return damaged(table, "it does not hold the partition that is in use");
    uint64_t last = get_le(entry + 40, 8), end = table->disk_sectors - 1 - gpt->sectors;
    uint64_t primary_end = get_le(gpt->header + 72, 8) + gpt->sectors;
    if (last < table->start || last >= table->disk_sectors || table->start < primary_end)
        return damaged(table, "the partition that is in use");
    *table->size = last + 1 - table->start;
    r = gpt_check_last(table, gpt, last);
    if (r < 0 || (end & ~(uint64_t)(END_ALIGN - 1)) <= last + 1)
        return r;
    put_le(gpt->header + 48, 8, end - 1); /* the last sector that partitions may use */
    end &= ~(uint64_t)(END_ALIGN - 1);
    put_le(entry + 40, 8, end - 1);
    r = gpt_write(table, gpt, first);
    if (r == 0)
        *table->size = end - table->start;
    return r;
}

static int start_gpt(const Table *table, OldTable *first) {
    Gpt *gpt = aligned_alloc(4096, sizeof(*gpt));
    int r;
    if (!gpt)
        return result_fail(table->result, ENOMEM, "the partition table");
    r = extend_gpt(table, gpt, first);
    free(gpt);
    return r;
}

static int extend(const Table *table) {
    OldTable first;
    int r = old_read(table, 0, &first);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < 4; i++)
        if (old_type(&first, i) == 0xee)
            return start_gpt(table, &first);
    return table->number <= 4 ? extend_primary(table, &first) : extend_logical(table, &first);
}

int partition_table_extend(int fd, uint64_t disk_sectors, unsigned number, uint64_t start,
                           uint64_t *size, Result *result) {
    const Table table = {fd, disk_sectors, number, start, size, result};
    int r;
    if (disk_sectors < 2048 || disk_sectors > INT64_MAX / SECTOR_BYTES || number == 0)
        return damaged(&table, "the disk is too small for one");
    r = extend(&table);
    if (r == 0 && (start > disk_sectors || *size > disk_sectors - start))
        return damaged(&table, "the partition that is in use ends behind the disk");
    return r;
}
