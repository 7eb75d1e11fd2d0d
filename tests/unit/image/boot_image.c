/* SPDX-License-Identifier: Apache-2.0 */
#include "image/boot_image.h"

#include "crafted.h"

static uint8_t image_data[CRAFTED_PAYLOAD + 4 * CRAFTED_ELF_BYTES];
static size_t image_size;

static void load(const char *path) {
    _cleanup_free_ char *data = NULL;
    CHECK_INT(fd_read_file_at(AT_FDCWD, path, sizeof(image_data), &data, &image_size), 0);
    memcpy(image_data, data, image_size);
}

static void check_extracts(void) {
    static uint8_t elf[CRAFTED_ELF_BYTES], found[CRAFTED_ELF_BYTES + 1];
    _cleanup_error_ Error error = ERROR_INIT;
    BootImage image;
    CHECK_INT(boot_image_parse(image_data, image_size, &image, &error), 0);
    CHECK_INT(image.unpacked_bytes, CRAFTED_ELF_BYTES);
    CHECK_STR(image.version, "6.1.0-test");
    _cleanup_free_ char *path = crafted_path("out");
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK_INT(boot_image_extract(image_data, image_size, &image, fd, &error), 0);
    crafted_elf(elf, sizeof(elf));
    CHECK_INT(fd_pread_full(fd, found, sizeof(found), 0), CRAFTED_ELF_BYTES);
    CHECK_INT(memcmp(found, elf, sizeof(elf)), 0);
}

static void test_every_compression(void) {
    static const struct {
        const char *program, *packer;
        bool own_size;
    } packers[] = {
        {"gzip", "gzip -9", true},         {"bzip2", "bzip2 -9", false},
        {"xz", "xz --check=crc32", false}, {"xz", "xz --format=lzma", false},
        {"zstd", "zstd -q -19", false},    {"lz4", "lz4 -q -l -9", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(packers); i++) {
        if (!crafted_has(packers[i].program)) {
            printf("  without %s\n", packers[i].program);
            continue;
        }
        _cleanup_free_ char *path = crafted_kernel("bz", packers[i].packer, packers[i].own_size);
        load(path);
        check_extracts();
    }
}

static void check_refused(const char *part) {
    _cleanup_error_ Error error = ERROR_INIT;
    BootImage image = {.protocol = 7};
    CHECK(boot_image_parse(image_data, image_size, &image, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    CHECK_CONTAINS(error_message(&error), part);
    CHECK_INT(image.protocol, 7); /* untouched */
}

static void test_hostile_headers(void) {
    _cleanup_free_ char *path = crafted_kernel("bz", "gzip -9", true);
    size_t whole;
    load(path);
    whole = image_size;
    image_size = 0x24f;
    check_refused("no boot header");
    image_size = 1024;
    check_refused("cut off");
    image_size = whole - 1;
    check_refused("beyond the end");
    image_size = whole;
    memset(image_data + 0x248, 0xff, 4); /* offset */
    check_refused("beyond the end");
    load(path);
    memset(image_data + 0x24c, 0xff, 4); /* length */
    check_refused("beyond the end");
    memset(image_data + 0x24c, 0, 4);
    check_refused("no packed kernel");
    load(path);
    memset(image_data + image_size - 4, 0xff, 4); /* unpacked size */
    check_refused("makes no sense");
    load(path);
    image_data[0x206] = 7;
    check_refused("2.08");
    load(path);
    image_data[0x202] = 'X';
    check_refused("no boot header");
}

static void check_extract_fails(const char *part) {
    _cleanup_error_ Error error = ERROR_INIT;
    BootImage image;
    CHECK_INT(boot_image_parse(image_data, image_size, &image, &error), 0);
    _cleanup_close_ int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK(boot_image_extract(image_data, image_size, &image, fd, &error) < 0);
    CHECK_CONTAINS(error_message(&error), part);
}

static void test_damaged_payload(void) {
    _cleanup_free_ char *path = crafted_kernel("bz", "gzip -9", true);
    load(path);
    memset(image_data + CRAFTED_PAYLOAD + 20, 0x5a, 200);
    check_extract_fails("cannot unpack");
    load(path);
    uint32_t more = CRAFTED_ELF_BYTES + 1; /* says one byte more than there is */
    memcpy(image_data + image_size - 4, &more, 4);
    check_extract_fails("cannot unpack");
    load(path);
    memcpy(image_data + CRAFTED_PAYLOAD, "not packed at all", 17);
    check_extract_fails("cannot unpack");
}

static void test_version_stays_inside(void) {
    _cleanup_free_ char *path = crafted_kernel("bz", "gzip -9", true);
    BootImage image;
    load(path);
    memset(image_data + 0x20e, 0xff, 2);
    CHECK_INT(boot_image_parse(image_data, image_size, &image, NULL), 0);
    CHECK_STR(image.version, "");
    load(path);
    memcpy(image_data + 0x380, "../../etc", 10);
    CHECK_INT(boot_image_parse(image_data, image_size, &image, NULL), 0);
    CHECK_STR(image.version, "..");
}

static void test_elf(void) {
    static uint8_t elf[CRAFTED_ELF_BYTES];
    crafted_elf(elf, sizeof(elf));
    CHECK_INT(boot_image_check_elf(elf, sizeof(elf), NULL), 0);
    CHECK(boot_image_check_elf(elf, sizeof(elf) - 1, NULL) < 0);
    CHECK(boot_image_check_elf(elf, 10, NULL) < 0);
    memset(elf + 32, 0xff, 8); /* e_phoff */
    CHECK(boot_image_check_elf(elf, sizeof(elf), NULL) < 0);
    crafted_elf(elf, sizeof(elf));
    elf[18] = EM_386;
    CHECK(boot_image_check_elf(elf, sizeof(elf), NULL) < 0);
}

int main(void) {
    crafted_begin();
    RUN(test_every_compression);
    RUN(test_hostile_headers);
    RUN(test_damaged_payload);
    RUN(test_version_stays_inside);
    RUN(test_elf);
    return 0;
}
