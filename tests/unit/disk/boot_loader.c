/* SPDX-License-Identifier: Apache-2.0 */
/* Which boot loader a disk brings, and what is refused of its tables. */
#include "disk/boot_loader.h"

#include <zlib.h>

#include "disk/vmdk.h"
#include "scratch.h"

#define SECTOR 512
#define SECTORS 4096u
#define ESP_AT 100u

static const uint8_t bios_boot[16] = {0x48, 0x61, 0x68, 0x21, 0x49, 0x64, 0x6f, 0x6e,
                                      0x74, 0x4e, 0x65, 0x65, 0x64, 0x45, 0x46, 0x49};
static const uint8_t efi_system[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                       0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};

static int disk_fd;
static uint8_t table[128 * 128];

static void put(uint64_t sector, const void *data, size_t size) {
    CHECK_INT(fd_pwrite_full(disk_fd, data, size, sector * SECTOR), 0);
}

static void put_number(uint8_t *at, uint64_t number, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(number >> (8 * i));
}

/* A first sector with one entry, and perhaps code. */
static void put_first(uint8_t kind, uint32_t start, bool code) {
    uint8_t sector[SECTOR] = {0};
    if (code)
        sector[0] = 0xeb;
    sector[446 + 4] = kind;
    put_number(sector + 446 + 8, start, 4);
    put_number(sector + 446 + 12, 10, 4);
    sector[510] = 0x55;
    sector[511] = 0xaa;
    put(0, sector, sizeof(sector));
}

static void put_header(uint64_t own, uint64_t entries) {
    uint8_t sector[SECTOR] = "EFI PART";
    put_number(sector + 8, 0x10000, 4);
    put_number(sector + 12, 92, 4);
    put_number(sector + 24, own, 8);
    put_number(sector + 72, entries, 8);
    put_number(sector + 80, 128, 4);
    put_number(sector + 84, 128, 4);
    put_number(sector + 88, crc32(0, table, sizeof(table)), 4);
    put_number(sector + 16, crc32(0, sector, 92), 4);
    put(own, sector, sizeof(sector));
    put(entries, table, sizeof(table));
}

static void put_fat(void) {
    uint8_t sector[SECTOR] = {0xeb};
    sector[510] = 0x55;
    sector[511] = 0xaa;
    put(ESP_AT, sector, sizeof(sector));
}

/* As Debian's cloud images are: for both firmwares. */
static void put_gpt(void) {
    memset(table, 0, sizeof(table));
    memcpy(table + 13 * 128, bios_boot, 16);
    memcpy(table + 14 * 128, efi_system, 16);
    put_number(table + 14 * 128 + 32, ESP_AT, 8);
    put_first(0xee, 1, true);
    put_header(1, 2);
    put_header(SECTORS - 1, SECTORS - 33);
    put_fat();
}

static void begin(void) {
    disk_fd = open("disk", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(disk_fd >= 0);
    CHECK_INT(ftruncate(disk_fd, (off_t)SECTORS * SECTOR), 0);
}

/* "bios", "uefi", "bios uefi", "", "damaged", or "large": its sectors. */
static const char *find(void) {
    static const char *const words[] = {"", "bios", "uefi", "bios uefi"};
    _cleanup_error_ Error error = ERROR_INIT;
    BootLoader loader = {0};
    int r = boot_loader_find(disk_fd, &loader, &error);
    (void)close(disk_fd);
    if (r < 0 && error.kind == ERROR_UNSUPPORTED)
        return "large";
    if (r < 0)
        CHECK_INT(error.kind, ERROR_CORRUPT);
    return r < 0 ? "damaged" : words[loader.bios + 2 * loader.uefi];
}

static void test_gpt(void) {
    begin();
    put_gpt();
    CHECK_STR(find(), "bios uefi");
    begin(); /* nothing jumps to the partition */
    put_gpt();
    put_first(0xee, 1, false);
    CHECK_STR(find(), "uefi");
    begin(); /* an empty partition */
    put_gpt();
    put(ESP_AT, (uint8_t[SECTOR]){0}, SECTOR);
    CHECK_STR(find(), "bios");
    begin(); /* only data */
    memset(table, 0, sizeof(table));
    put_first(0xee, 1, false);
    put_header(1, 2);
    CHECK_STR(find(), "");
}

/* Either copy will do for a UEFI; without both nobody knows where anything is. */
static void test_damaged(void) {
    begin();
    put_gpt();
    put(1, "EFI PARTx", 9);
    CHECK_STR(find(), "uefi");
    begin(); /* no EFI system partition */
    put_gpt();
    put(ESP_AT, (uint8_t[SECTOR]){0}, SECTOR);
    put(1, "EFI PARTx", 9);
    CHECK_STR(find(), "damaged");
    begin();
    put_gpt();
    put(3, "x", 1); /* entries */
    put(SECTORS - 1, (uint8_t[SECTOR]){0}, SECTOR);
    CHECK_STR(find(), "damaged");
    begin(); /* sectors of 4096 bytes */
    put_first(0xee, 1, false);
    put(8, "EFI PART", 8);
    CHECK_STR(find(), "large");
    begin(); /* a disk of one sector */
    put_gpt();
    CHECK_INT(ftruncate(disk_fd, SECTOR), 0);
    CHECK_STR(find(), "damaged");
}

/* Numbers that lead beyond the disk, with checksums that are right. */
static void test_hostile(void) {
    static const struct {
        size_t at, bytes;
        uint64_t value;
    } changes[] = {
        {72, 8, UINT64_MAX},    {72, 8, SECTORS}, {80, 4, UINT32_MAX}, {80, 4, 0}, {84, 4, 0},
        {84, 4, UINT32_MAX},    {84, 4, 1},       {12, 4, UINT32_MAX}, {12, 4, 0}, {24, 8, 2},
        {80, 4, (1u << 20) + 1}};
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        uint8_t sector[SECTOR];
        begin();
        put_gpt();
        put(SECTORS - 1, (uint8_t[SECTOR]){0}, SECTOR);
        CHECK_INT(fd_pread_full(disk_fd, sector, sizeof(sector), SECTOR), SECTOR);
        put_number(sector + changes[i].at, changes[i].value, changes[i].bytes);
        put_number(sector + 16, 0, 4);
        put_number(sector + 16, crc32(0, sector, 92), 4);
        put(1, sector, sizeof(sector));
        CHECK_STR(find(), "damaged");
    }
    begin(); /* an EFI system partition behind the end */
    put_gpt();
    put_number(table + 14 * 128 + 32, UINT64_MAX, 8);
    put_header(1, 2);
    CHECK_STR(find(), "bios");
}

static void test_old_table(void) {
    begin();
    put_first(0x83, 1, true);
    CHECK_STR(find(), "bios");
    begin();
    put_first(0x83, 1, false);
    CHECK_STR(find(), "");
    begin();
    put_first(0xef, ESP_AT, false);
    put_fat();
    CHECK_STR(find(), "uefi");
    begin();
    put_first(0xef, UINT32_MAX, false);
    CHECK_STR(find(), "");
    begin(); /* nothing at all */
    CHECK_STR(find(), "");
    begin();
    CHECK_INT(ftruncate(disk_fd, 100), 0);
    CHECK_STR(find(), "");
}

static ErrorKind check_vmdk(uint64_t capacity, uint64_t descriptor, const char *text) {
    _cleanup_error_ Error error = ERROR_INIT;
    uint8_t header[SECTOR] = "KDMV";
    begin();
    put_number(header + 12, capacity, 8);
    put_number(header + 28, descriptor, 8);
    put(0, header, sizeof(header));
    put(descriptor < SECTORS ? descriptor : 1, text, strlen(text));
    ErrorKind kind = vmdk_check(disk_fd, &error) < 0 ? error.kind : ERROR_NONE;
    (void)close(disk_fd);
    return kind;
}

/* Nothing that makes qemu-img open another file. */
static void test_vmdk(void) {
    CHECK_INT(check_vmdk(100, 1, "createType=\"monolithicSparse\"\n"), ERROR_NONE);
    CHECK_INT(check_vmdk(100, 1, "createType=\"streamOptimized\"\n"), ERROR_NONE);
    CHECK_INT(check_vmdk(100, 0, ""), ERROR_NONE);
    CHECK_INT(check_vmdk(0, 1, "createType=\"monolithicSparse\"\n"), ERROR_UNSUPPORTED);
    CHECK_INT(check_vmdk(100, 1, "createType=\"monolithicFlat\"\n"), ERROR_UNSUPPORTED);
    CHECK_INT(check_vmdk(100, 1, "parentFileNameHint=\"/etc/shadow\"\n"), ERROR_UNSUPPORTED);
    CHECK_INT(check_vmdk(100, 50, "parentFileNameHint=\"/etc/shadow\"\n"), ERROR_UNSUPPORTED);
    CHECK_INT(check_vmdk(100, UINT64_MAX, ""), ERROR_CORRUPT);
    begin();
    CHECK_INT(ftruncate(disk_fd, 100), 0);
    CHECK(vmdk_check(disk_fd, NULL) < 0);
    (void)close(disk_fd);
}

int main(void) {
    scratch_enter();
    RUN(test_gpt);
    RUN(test_damaged);
    RUN(test_hostile);
    RUN(test_old_table);
    RUN(test_vmdk);
    return 0;
}
