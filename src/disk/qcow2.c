/* SPDX-License-Identifier: Apache-2.0 */

/* The header of a qcow2 file, after docs/interop/qcow2.txt of QEMU ("Header", "Header extensions"):
 *
 *   0 magic  4 version  8 backing name offset  16 its length  20 cluster_bits  24 virtual size
 *   32 encryption  36 L1 entries  40 L1 offset  48 refcount table offset  56 its clusters
 *   60 snapshots  64 their offset
 *   72 incompatible  80 compatible  88 autoclear features  96 refcount order  100 header length
 * (version 3)
 *
 * Extensions (type, length, data padded to 8) follow the header up to the backing name or the end
 * of the first cluster. The parser works on a copy of the first 64 KiB; each read of it is bounded
 * by get32/get64 or an explicit check against `size`. Lengths are checked by subtraction, so
 * nothing can wrap around. */

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "disk/qcow2.h"

#define HEADER_V2_BYTES 72
#define HEADER_V3_BYTES 104
#define PREFIX_BYTES ((size_t)64 << 10)
#define L1_MAX_BYTES ((uint64_t)32 << 20) /* QCOW_MAX_L1_SIZE */

#define INCOMPATIBLE_DIRTY ((uint64_t)1 << 0)
#define INCOMPATIBLE_CORRUPT ((uint64_t)1 << 1)
#define INCOMPATIBLE_DATA_FILE ((uint64_t)1 << 2)
#define INCOMPATIBLE_COMPRESSION ((uint64_t)1 << 3)
#define INCOMPATIBLE_EXTENDED_L2 ((uint64_t)1 << 4)
#define INCOMPATIBLE_KNOWN ((uint64_t)0x1f)

#define EXTENSION_END 0x00000000U
#define EXTENSION_BACKING_FORMAT 0xe2792acaU
#define EXTENSION_DATA_FILE 0x44415441U
#define EXTENSIONS_MAX 256

typedef struct Header {
    const uint8_t *data; /* borrowed */
    size_t size;
} Header;

static uint32_t get32(const Header *header, size_t offset) {
    const uint8_t *p = header->data + offset;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t get64(const Header *header, size_t offset) {
    return (uint64_t)get32(header, offset) << 32 | get32(header, offset + 4);
}

static int corrupt(Error *error, const char *why) {
    return error_set(error, ERROR_CORRUPT, EINVAL, "bad qcow2 header: %s", why);
}

/* Text of the file as an owned string; a NUL inside ends it, as it does in QEMU. */
static char *get_text(const Header *header, size_t offset, size_t length) {
    char *text = strndup((const char *)header->data + offset, length);
    if (!text)
        abort();
    return text;
}

static int parse_sizes(const Header *header, Qcow2Info *info, Error *error) {
    uint64_t l1_entries = get32(header, 36), covered_bits;
    info->cluster_bits = get32(header, 20);
    info->virtual_bytes = get64(header, 24);
    info->snapshots = get32(header, 60);
    info->encrypted = get32(header, 32) != 0;
    if (info->cluster_bits < 9 || info->cluster_bits > 21)
        return corrupt(error, "cluster size out of range");
    if (info->virtual_bytes > INT64_MAX)
        return corrupt(error, "virtual size out of range");
    if (l1_entries * 8 > L1_MAX_BYTES)
        return corrupt(error, "L1 table too large");
    covered_bits =
        info->cluster_bits * 2 - (info->extended_l2 ? 4 : 3); /* bytes of one L1 entry, log 2 */
    if (info->virtual_bytes > 0 && ((info->virtual_bytes - 1) >> covered_bits) >= l1_entries)
        return corrupt(error, "L1 table too small for the virtual size");
    if (get64(header, 40) % ((uint64_t)1 << info->cluster_bits) != 0 && l1_entries > 0)
        return corrupt(error, "L1 table not aligned");
    if (get32(header, 56) == 0 || get64(header, 48) % ((uint64_t)1 << info->cluster_bits) != 0)
        return corrupt(error, "refcount table not aligned, or none");
    return 0;
}

static int parse_features(const Header *header, Qcow2Info *info, size_t *header_bytes,
                          Error *error) {
    uint64_t incompatible;
    uint32_t length;
    if (info->version == 2) {
        *header_bytes = HEADER_V2_BYTES;
        return 0;
    }
    if (header->size < HEADER_V3_BYTES)
        return corrupt(error, "truncated");
    incompatible = get64(header, 72);
    length = get32(header, 100);
    if (incompatible & ~INCOMPATIBLE_KNOWN)
        return error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "qcow2 with unknown features (%#llx)",
                         (unsigned long long)(incompatible & ~INCOMPATIBLE_KNOWN));
    if (length < HEADER_V3_BYTES || length > header->size || length % 8 != 0)
        return corrupt(error, "header length out of range");
    if (get32(header, 96) > 6)
        return corrupt(error, "refcount width out of range");
    if ((incompatible & INCOMPATIBLE_COMPRESSION) && length < HEADER_V3_BYTES + 1)
        return corrupt(error, "compression type missing");
    info->dirty = incompatible & INCOMPATIBLE_DIRTY;
    info->corrupt = incompatible & INCOMPATIBLE_CORRUPT;
    info->has_data_file = incompatible & INCOMPATIBLE_DATA_FILE;
    info->extended_l2 = incompatible & INCOMPATIBLE_EXTENDED_L2;
    *header_bytes = length;
    return 0;
}

static int parse_backing(const Header *header, Qcow2Info *info, Error *error) {
    uint64_t offset = get64(header, 8);
    uint32_t length = get32(header, 16);
    if (offset == 0)
        return 0;
    if (length == 0)
        return 0; /* QEMU: no backing file */
    if (length > QCOW2_NAME_MAX)
        return corrupt(error, "name of the backing file too long");
    if (offset > header->size || length > header->size - offset ||
        offset + length > (uint64_t)1 << info->cluster_bits)
        return corrupt(error, "name of the backing file outside of the header");
    info->backing_path = get_text(header, (size_t)offset, length);
    return 0;
}

static void read_extension(const Header *header, uint32_t type, size_t offset, size_t length,
                           Qcow2Info *info) {
    char **text = type == EXTENSION_BACKING_FORMAT ? &info->backing_format
                  : type == EXTENSION_DATA_FILE    ? &info->data_file
                                                   : NULL;
    if (!text)
        return;
    free(*text);
    *text = get_text(header, offset, length);
}

static int parse_extensions(const Header *header, size_t at, Qcow2Info *info, Error *error) {
    uint64_t backing = get64(header, 8);
    size_t end = MIN_OF(header->size, (size_t)1 << info->cluster_bits);
    uint32_t type, length;
    if (backing != 0 && backing < end)
        end = (size_t)backing;
    for (unsigned count = 0; at < end && end - at >= 8; count++) {
        type = get32(header, at);
        length = get32(header, at + 4);
        at += 8;
        if (type == EXTENSION_END)
            return 0;
        if (length > end - at || count >= EXTENSIONS_MAX)
            return corrupt(error, "header extension out of range");
        read_extension(header, type, at, length, info);
        at += MIN_OF(((size_t)length + 7) & ~(size_t)7, end - at);
    }
    return 0;
}

int qcow2_parse_info(const void *data, size_t size, Qcow2Info *info, Error *error) {
    _cleanup_qcow2_info_ Qcow2Info found = {0};
    Header header = {.data = data, .size = size};
    size_t header_bytes = 0;
    int r;
    if (size < HEADER_V2_BYTES || get32(&header, 0) != QCOW2_MAGIC)
        return corrupt(error, size < HEADER_V2_BYTES ? "truncated" : "no magic number");
    found.version = get32(&header, 4);
    if (found.version != 2 && found.version != 3)
        return error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "qcow2 version %u is not supported",
                         found.version);
    r = parse_features(&header, &found, &header_bytes, error);
    if (r >= 0)
        r = parse_sizes(&header, &found, error);
    if (r >= 0)
        r = parse_backing(&header, &found, error);
    if (r >= 0)
        r = parse_extensions(&header, header_bytes, &found, error);
    if (r < 0)
        return r;
    *info = found;
    found = (Qcow2Info){0};
    return 0;
}

int qcow2_read_info(int fd, Qcow2Info *info, Error *error) {
    _cleanup_free_ uint8_t *prefix = malloc(PREFIX_BYTES);
    ssize_t n;
    if (!prefix)
        abort();
    n = fd_pread_full(fd, prefix, PREFIX_BYTES, 0);
    if (n < 0)
        return error_set_errno(error, (int)-n, "cannot read a qcow2 header");
    return qcow2_parse_info(prefix, (size_t)n, info, error);
}

void qcow2_info_free(Qcow2Info *info) {
    free(info->backing_path);
    free(info->backing_format);
    free(info->data_file);
    *info = (Qcow2Info){0};
}
