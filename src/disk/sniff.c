/* SPDX-License-Identifier: Apache-2.0 */

/* What a file is, told by its first bytes: how it is compressed, and by the first bytes of what
 * comes out of it, what it holds. */

#include "disk/sniff.h"

#include <archive.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "disk/decode.h"

#define SNIFF_ENTRIES_MAX 64
#define SNIFF_IMAGE_BYTES 512
#define TAR_BLOCK 512

typedef struct Foreign {
    size_t offset;
    const char *magic;
    size_t length;
    const char *what;
} Foreign;

static const Foreign FOREIGN_IMAGES[] = {
    {0, "COWD", 4, "a VMDK image of an old kind"},
    {0, "# Disk DescriptorFile", 21, "the description of a VMDK image, whose data is elsewhere"},
    {0, "conectix", 8, "a VHD image"},
    {64, "\x7f\x10\xda\xbe", 4, "a VDI image"},
    {0, "QED\0", 4, "a QED image"},
    {0, "WithoutFreeSpace", 16, "a Parallels image"},
    {0, "WithouFreSpacExt", 16, "a Parallels image"},
};

static const Foreign FOREIGN_DATA[] = {
    {0, "LUKS\xba\xbe", 6, "an encrypted disk (LUKS)"},
    {0, "BZh", 3, "bzip2 data"},
    {0, "\x04\x22\x4d\x18", 4, "lz4 data"},
    {0, "PK\x03\x04", 4, "a zip archive"},
    {0, "7z\xbc\xaf\x27\x1c", 6, "a 7z archive"},
};

static const char *find_foreign(const Foreign *table, size_t n, const uint8_t *head, size_t size) {
    for (size_t i = 0; i < n; i++)
        if (size >= table[i].offset + table[i].length &&
            memcmp(head + table[i].offset, table[i].magic, table[i].length) == 0)
            return table[i].what;
    return NULL;
}

/* A tar header: its checksum is the sum of its bytes with the checksum field taken as blanks
 * (POSIX.1-2017, pax, "ustar Interchange Format"). */
static bool is_tar(const uint8_t *head, size_t size) {
    unsigned long sum = 0, said;
    char field[9] = {0};
    char *end;
    if (size < TAR_BLOCK || head[0] == '\0')
        return false;
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : head[i];
    memcpy(field, head + 148, 8);
    said = strtoul(field, &end, 8);
    return end != field && said == sum;
}

/* OVF 2.1, chapter 5.3: its description is the first in the archive, and beside its disks. */
static bool is_ova(const uint8_t *head, size_t size) {
    char name[101] = "";
    if (!is_tar(head, size))
        return false;
    memcpy(name, head, sizeof(name) - 1);
    return str_has_suffix(name, ".ovf") && !strchr(name, '/');
}

static int refuse_foreign(const uint8_t *head, size_t size, bool decoded, Error *error) {
    const char *what = find_foreign(FOREIGN_IMAGES, ARRAY_SIZE(FOREIGN_IMAGES), head, size);
    if (!what)
        what = find_foreign(FOREIGN_DATA, ARRAY_SIZE(FOREIGN_DATA), head, size);
    if (!what && is_ova(head, size))
        what = "an OVA archive, and the disk is a .vmdk in it";
    if (decoded && decoder_sniff(head, size) != EXTRACT_PLAIN)
        what = "data that is compressed twice";
    if (!what)
        return 0;
    error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "this is %s", what);
    error_set_hint(error,
                   "bring a raw, qcow2, vmdk or vhdx disk (plain, .zst, .xz or .gz), or a tar; "
                   "`qemu-img convert -O qcow2` reads most other images");
    return -ENOTSUP;
}

static bool tar_has_disk(const uint8_t *head, size_t size) {
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    bool found = false;
    if (!archive)
        abort();
    archive_read_support_format_tar(archive);
    if (archive_read_open_memory(archive, head, size) == ARCHIVE_OK)
        for (int i = 0; i < SNIFF_ENTRIES_MAX && !found; i++) {
            if (archive_read_next_header(archive, &entry) < ARCHIVE_WARN)
                break;
            found = tar_entry_is_disk(entry);
        }
    archive_read_free(archive);
    return found;
}

bool tar_entry_is_disk(struct archive_entry *entry) {
    const char *name = archive_entry_pathname(entry);
    if (!name || archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
        return false;
    return strcmp(name, "disk.img") == 0 || strcmp(name, "./disk.img") == 0;
}

static ExtractKind image_kind(const uint8_t *head, size_t size) {
    if (size >= 4 && memcmp(head, "QFI\xfb", 4) == 0)
        return EXTRACT_QCOW2;
    if (size >= 4 && memcmp(head, "KDMV", 4) == 0)
        return EXTRACT_VMDK;
    if (size >= 8 && memcmp(head, "vhdxfile", 8) == 0)
        return EXTRACT_VHDX;
    return EXTRACT_RAW;
}

static ExtractKind head_kind(const uint8_t *head, size_t size) {
    ExtractKind kind = image_kind(head, size);
    if (kind == EXTRACT_RAW && is_tar(head, size))
        return tar_has_disk(head, size) ? EXTRACT_TAR_DISK : EXTRACT_TAR_ROOTFS;
    return kind;
}

int sniff_image(int fd, ExtractKind *kind, Error *error) {
    uint8_t head[SNIFF_IMAGE_BYTES];
    ssize_t size = fd_pread_full(fd, head, sizeof(head), 0);
    const char *what;
    if (size < 0)
        return error_set_errno(error, (int)-size, "cannot read the file");
    what = find_foreign(FOREIGN_IMAGES, ARRAY_SIZE(FOREIGN_IMAGES), head, (size_t)size);
    if (what) {
        error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "this is %s", what);
        error_set_hint(error, "`qemu-img convert -O raw OLD NEW` makes a raw disk of it");
        return -ENOTSUP;
    }
    *kind = image_kind(head, (size_t)size);
    return 0;
}

/* Decodes the beginning on the side. Damage behind what is looked at is found later, when it is
 * read. */
static int decode_head(const uint8_t *begin, size_t begin_size, ExtractCompression compression,
                       uint8_t *head, size_t *size, Error *error) {
    _cleanup_(decoder_free_p) Decoder *decoder = decoder_new(compression);
    DecodeBuffers buffers = {.in = begin, .in_size = begin_size, .out = head, .out_size = *size};
    size_t in_before, out_before;
    int r;
    do {
        in_before = buffers.in_size;
        out_before = buffers.out_size;
        r = decoder_step(decoder, &buffers, error);
    } while (r >= 0 && buffers.out_size > 0 &&
             (buffers.in_size < in_before || buffers.out_size < out_before));
    if (r < 0 && buffers.out_size == *size)
        return r;
    error_clear(error);
    *size -= buffers.out_size;
    return 0;
}

static int check_wanted(ExtractWanted wanted, ExtractKind kind, Error *error) {
    static const char *const names[] = {[EXTRACT_ONLY_QCOW2] = "qcow2",
                                        [EXTRACT_ONLY_TAR] = "tar",
                                        [EXTRACT_ONLY_VMDK] = "vmdk",
                                        [EXTRACT_ONLY_VHDX] = "vhdx"};
    bool is_tar = kind == EXTRACT_TAR_DISK || kind == EXTRACT_TAR_ROOTFS;
    int r;
    if (wanted == EXTRACT_ANY || (wanted == EXTRACT_ONLY_TAR && is_tar) ||
        (wanted == EXTRACT_ONLY_QCOW2 && kind == EXTRACT_QCOW2) ||
        (wanted == EXTRACT_ONLY_VMDK && kind == EXTRACT_VMDK) ||
        (wanted == EXTRACT_ONLY_VHDX && kind == EXTRACT_VHDX))
        return 0;
    r = error_set(error, ERROR_CORRUPT, EBADMSG, "this is no %s, but %s", names[wanted],
                  is_tar ? "a tar" : extract_kind_name(kind));
    error_set_hint(error, "leave --format out to have it found out");
    return r;
}

/* A raw disk's first bytes are a guest's, which may have written any header there. */
static int accept_as_raw(size_t size, ExtractKind *kind, ExtractCompression *compression,
                         Error *error) {
    if (size == 0)
        return error_set(error, ERROR_CORRUPT, ENODATA, "the source is empty");
    *kind = EXTRACT_RAW;
    *compression = EXTRACT_PLAIN;
    return 0;
}

int sniff_begin(const uint8_t *begin, size_t begin_size, ExtractWanted wanted, ExtractKind *kind,
                ExtractCompression *compression, Error *error) {
    _cleanup_free_ uint8_t *head = malloc(SNIFF_BYTES);
    ExtractCompression found = decoder_sniff(begin, begin_size);
    size_t size = SNIFF_BYTES;
    Error ignored = ERROR_INIT;
    int r;
    if (!head)
        abort();
    if (wanted == EXTRACT_ONLY_RAW)
        return accept_as_raw(begin_size, kind, compression, error);
    if (begin_size == 0)
        return error_set(error, ERROR_CORRUPT, ENODATA, "the source is empty");
    r = decode_head(begin, begin_size, found, head, &size, error ? error : &ignored);
    error_clear(&ignored);
    if (r >= 0)
        r = refuse_foreign(head, size, found != EXTRACT_PLAIN, error);
    if (r >= 0)
        r = check_wanted(wanted, head_kind(head, size), error);
    if (r < 0)
        return r;
    *kind = head_kind(head, size);
    *compression = found;
    return 0;
}
