/* SPDX-License-Identifier: Apache-2.0 */

/* The old table and the code before it are in sector 0. Where that has an entry of type 0xee, the
 * table is a GPT (UEFI 2.10, chapter 5): a header in sector 1 and its copy in the last one, each
 * with a checksum of its own and one of the entries. Either will do for a UEFI. Every
 * number is the image's, so each is held against the disk before it is followed. */

#include "disk/boot_loader.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/fd.h"
#include "base/util.h"

#define SECTOR 512
#define LARGE_SECTOR 4096
#define CODE_BYTES 440 /* before the disk's signature */
#define HEADER_LEAST 92
#define ENTRY_LEAST 128
#define TABLE_MAX ((size_t)1 << 20)

/* As they lie on a disk: the first three parts are little-endian. */
static const uint8_t bios_boot[16] = {0x48, 0x61, 0x68, 0x21, 0x49, 0x64, 0x6f, 0x6e,
                                      0x74, 0x4e, 0x65, 0x65, 0x64, 0x45, 0x46, 0x49};
static const uint8_t efi_system[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                       0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};

typedef struct Disk {
    int fd; /* borrowed */
    uint64_t sectors;
    bool code; /* there is some in the first sector */
} Disk;

static uint32_t get32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

static uint64_t get64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

static bool read_sectors(const Disk *disk, uint64_t first, void *data, size_t size) {
    uint64_t count = (size + SECTOR - 1) / SECTOR;
    return count <= disk->sectors && first <= disk->sectors - count &&
           fd_pread_full(disk->fd, data, size, first * SECTOR) == (ssize_t)size;
}

static bool is_zero(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (data[i])
            return false;
    return true;
}

/* A FAT begins with a jump, and has 0x55 0xaa at the end of its first sector. */
static bool has_fat(const Disk *disk, uint64_t first) {
    uint8_t head[SECTOR];
    return read_sectors(disk, first, head, sizeof(head)) && head[510] == 0x55 &&
           head[511] == 0xaa && (head[0] == 0xeb || head[0] == 0xe9);
}

/* ---- GPT ---- */

static bool header_is_whole(const uint8_t *sector, uint64_t at) {
    uint8_t copy[SECTOR];
    size_t size = get32(sector + 12);
    if (memcmp(sector, "EFI PART", 8) != 0 || size < HEADER_LEAST || size > SECTOR ||
        get64(sector + 24) != at)
        return false;
    memcpy(copy, sector, sizeof(copy));
    memset(copy + 16, 0, 4);
    return crc32(0, copy, (uInt)size) == get32(sector + 16);
}

static void add_partition(const Disk *disk, uint64_t first, BootLoader *loader) {
    if (first > 0 && first < disk->sectors && loader->n_partitions < BOOT_LOADER_PARTITIONS_MAX)
        loader->offsets[loader->n_partitions++] = first * SECTOR;
}

static void look_at_entry(const Disk *disk, const uint8_t *entry, BootLoader *loader) {
    if (memcmp(entry, bios_boot, sizeof(bios_boot)) == 0)
        loader->bios |= disk->code;
    if (memcmp(entry, efi_system, sizeof(efi_system)) == 0)
        loader->uefi |= has_fat(disk, get64(entry + 32));
    if (!is_zero(entry, 16))
        add_partition(disk, get64(entry + 32), loader);
}

/* False: this copy is damaged. */
static bool read_gpt(const Disk *disk, uint64_t at, BootLoader *loader) {
    uint8_t sector[SECTOR];
    if (!read_sectors(disk, at, sector, sizeof(sector)) || !header_is_whole(sector, at))
        return false;
    size_t count = get32(sector + 80), size = get32(sector + 84);
    if (size < ENTRY_LEAST || size > SECTOR || count == 0 || count > TABLE_MAX / size)
        return false;
    _cleanup_free_ uint8_t *table = malloc(count * size);
    if (!table)
        abort();
    if (!read_sectors(disk, get64(sector + 72), table, count * size) ||
        crc32(0, table, (uInt)(count * size)) != get32(sector + 88))
        return false;
    for (size_t i = 0; i < count; i++)
        look_at_entry(disk, table + i * size, loader);
    return true;
}

static int refuse_gpt(const Disk *disk, Error *error) {
    uint8_t sector[SECTOR];
    if (read_sectors(disk, LARGE_SECTOR / SECTOR, sector, sizeof(sector)) &&
        memcmp(sector, "EFI PART", 8) == 0) {
        error_set(error, ERROR_UNSUPPORTED, ENOTSUP,
                  "the disk was made with sectors of %d bytes, and VMs here have those of %d",
                  LARGE_SECTOR, SECTOR);
        error_set_hint(error, "copy its partitions to a disk with such sectors, or import a tar of "
                              "its root file system");
        return -ENOTSUP;
    }
    error_set(error, ERROR_CORRUPT, EBADMSG,
              "the disk's partition table (GPT) is damaged, and so is its second copy");
    error_set_hint(error, "fetch or copy it again; sgdisk --verify tells more");
    return -EBADMSG;
}

/* The UEFI's drivers mend it by the second one; GRUB and Linux do not look at that. */
static int refuse_first_copy(Error *error) {
    error_set(
        error, ERROR_CORRUPT, EBADMSG,
        "the disk's partition table (GPT) is damaged, and a guest does not look at its second "
        "copy by itself");
    error_set_hint(error, "fetch or copy it again, or repair a copy of it: sgdisk -e FILE");
    return -EBADMSG;
}

static int find_in_gpt(const Disk *disk, BootLoader *loader, Error *error) {
    BootLoader found = {0};
    if (!read_gpt(disk, 1, &found)) {
        found = (BootLoader){0};
        if (!read_gpt(disk, disk->sectors - 1, &found))
            return refuse_gpt(disk, error);
        found.bios = false;
        if (!found.uefi)
            return refuse_first_copy(error);
    }
    *loader = found;
    return 0;
}

/* ---- the old table ---- */

static void find_in_old_table(const Disk *disk, const uint8_t *sector, BootLoader *loader) {
    for (size_t at = 446; at < 510; at += 16) {
        bool used = sector[at + 4] != 0 && get32(sector + at + 12) > 0;
        loader->bios |= used && disk->code;
        if (used)
            add_partition(disk, get32(sector + at + 8), loader);
        if (used && sector[at + 4] == 0xef)
            loader->uefi |= has_fat(disk, get32(sector + at + 8));
    }
}

/* A file system without partitions may begin with any code, but no table makes sense there. */
static bool is_table(const uint8_t *sector) {
    if (sector[510] != 0x55 || sector[511] != 0xaa)
        return false;
    for (size_t at = 446; at < 510; at += 16)
        if (sector[at] & 0x7f)
            return false;
    return !is_zero(sector + 446, 64);
}

static bool has_gpt(const uint8_t *sector) {
    for (size_t at = 446; at < 510; at += 16)
        if (sector[at + 4] == 0xee)
            return true;
    return false;
}

int boot_loader_find(int fd, BootLoader *loader, Error *error) {
    Disk disk = {.fd = fd};
    uint8_t sector[SECTOR];
    struct stat info;
    *loader = (BootLoader){0};
    if (fstat(fd, &info) < 0)
        return error_set_errno(error, errno, "cannot look at the disk");
    disk.sectors = (uint64_t)info.st_size / SECTOR;
    if (!read_sectors(&disk, 0, sector, sizeof(sector)) || !is_table(sector))
        return 0;
    disk.code = !is_zero(sector, CODE_BYTES);
    if (has_gpt(sector))
        return find_in_gpt(&disk, loader, error);
    find_in_old_table(&disk, sector, loader);
    return 0;
}
