/* SPDX-License-Identifier: Apache-2.0 */

/* A bzImage is a boot sector, `setup_sects` sectors of real-mode code, and the protected-mode part,
 * in which the packed kernel lies at payload_offset for payload_length bytes:
 *
 *     0            0x1f1 header      (setup_sects + 1) * 512    + payload_offset
 *     | boot sector … setup code …   | protected mode: stub …   | packed kernel, u32 size | … |
 *
 * The build ends each packed kernel with its unpacked size (32 bits, little endian; for gzip that
 * is the format's own trailer). Exactly so much is unpacked, so that neither a bomb nor the four
 * bytes themselves, which no decompressor expects, matter. */
#include "image/boot_image.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "image/unpack.h"

enum {
    HEADER_SETUP_SECTS = 0x1f1,
    HEADER_BOOT_FLAG = 0x1fe, /* 0xaa55 */
    HEADER_MAGIC = 0x202,     /* "HdrS" */
    HEADER_PROTOCOL = 0x206,
    HEADER_KERNEL_VERSION = 0x20e,
    HEADER_PAYLOAD_OFFSET = 0x248,
    HEADER_PAYLOAD_LENGTH = 0x24c,
    HEADER_END = 0x250,
    SECTOR = 512,
};

static uint16_t read_u16(const uint8_t *data) {
    return (uint16_t)(data[0] | data[1] << 8);
}

static uint32_t read_u32(const uint8_t *data) {
    return read_u16(data) | (uint32_t)read_u16(data + 2) << 16;
}

static int corrupt(Error *error, const char *what) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "not a bootable x86 kernel: %s", what);
}

bool boot_image_is_bzimage(const uint8_t *data, size_t size) {
    return size >= HEADER_END && memcmp(data + HEADER_MAGIC, "HdrS", 4) == 0;
}

/* kernel_version points (less 0x200) at a string such as "6.1.0-42-cloud-amd64 (builder) #1 SMP".
 */
static void parse_version(const uint8_t *data, size_t setup_bytes, char *version, size_t room) {
    size_t at = (size_t)read_u16(data + HEADER_KERNEL_VERSION) + 0x200, used = 0;
    version[0] = '\0';
    if (at == 0x200)
        return;
    for (; at < setup_bytes && used + 1 < room; at++, used++) {
        if (data[at] <= ' ' || data[at] >= 0x7f || data[at] == '/')
            break;
        version[used] = (char)data[at];
    }
    version[used] = '\0';
}

int boot_image_parse(const uint8_t *data, size_t size, BootImage *image, Error *error) {
    if (!boot_image_is_bzimage(data, size) || read_u16(data + HEADER_BOOT_FLAG) != 0xaa55)
        return corrupt(error, "it has no boot header");
    BootImage parsed = {.protocol = read_u16(data + HEADER_PROTOCOL)};
    if (parsed.protocol < 0x0208)
        return corrupt(error, "its boot protocol is older than 2.08 and tells no payload");
    size_t sectors = data[HEADER_SETUP_SECTS] ? data[HEADER_SETUP_SECTS] : 4;
    size_t setup_bytes = (sectors + 1) * SECTOR;
    if (setup_bytes >= size)
        return corrupt(error, "it is cut off within its set-up code");
    parsed.payload_offset = setup_bytes + (uint64_t)read_u32(data + HEADER_PAYLOAD_OFFSET);
    parsed.payload_bytes = read_u32(data + HEADER_PAYLOAD_LENGTH);
    if (parsed.payload_offset > size || parsed.payload_bytes > size - parsed.payload_offset)
        return corrupt(error, "its packed kernel reaches beyond the end of the file");
    if (parsed.payload_bytes < 8)
        return corrupt(error, "it holds no packed kernel");
    parsed.unpacked_bytes =
        read_u32(data + parsed.payload_offset + parsed.payload_bytes - sizeof(uint32_t));
    if (parsed.unpacked_bytes < sizeof(Elf64_Ehdr) || parsed.unpacked_bytes > BOOT_IMAGE_MAX_BYTES)
        return corrupt(error, "its unpacked size makes no sense");
    parse_version(data, setup_bytes, parsed.version, sizeof(parsed.version));
    *image = parsed;
    return 0;
}

int boot_image_check_elf(const uint8_t *data, size_t size, Error *error) {
    Elf64_Ehdr header;
    if (size < sizeof(header))
        return corrupt(error, "it is too short for an ELF header");
    memcpy(&header, data, sizeof(header));
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB || le16toh(header.e_machine) != EM_X86_64)
        return corrupt(error, "it is no ELF file for x86-64");
    if (le16toh(header.e_type) != ET_EXEC && le16toh(header.e_type) != ET_DYN)
        return corrupt(error, "its ELF type is not that of a program");
    uint64_t offset = le64toh(header.e_phoff);
    uint64_t bytes = (uint64_t)le16toh(header.e_phnum) * sizeof(Elf64_Phdr);
    if (le16toh(header.e_phentsize) != sizeof(Elf64_Phdr) || bytes == 0 || offset > size ||
        bytes > size - offset)
        return corrupt(error, "its ELF program headers lie outside of it");
    for (size_t i = 0; i < le16toh(header.e_phnum); i++) {
        Elf64_Phdr segment;
        memcpy(&segment, data + offset + i * sizeof(segment), sizeof(segment));
        uint64_t at = le64toh(segment.p_offset), length = le64toh(segment.p_filesz);
        if (le32toh(segment.p_type) == PT_LOAD && (at > size || length > size - at))
            return corrupt(error, "an ELF segment reaches beyond its end");
    }
    return 0;
}

int boot_image_extract(const uint8_t *data, size_t size, const BootImage *image, int fd,
                       Error *error) {
    if (image->payload_offset > size || image->payload_bytes > size - image->payload_offset)
        return corrupt(error, "its packed kernel reaches beyond the end of the file");
    _cleanup_free_ uint8_t *kernel = malloc(image->unpacked_bytes);
    if (!kernel)
        return error_set_errno(error, ENOMEM, "cannot unpack the kernel");
    const uint8_t *payload = data + image->payload_offset;
    bool gzip = payload[0] == 0x1f && payload[1] == 0x8b;
    int r = unpack_memory(payload, image->payload_bytes - (gzip ? 0 : sizeof(uint32_t)), kernel,
                          image->unpacked_bytes, error);
    if (r < 0)
        return error_add_context(error, "cannot unpack the kernel");
    r = boot_image_check_elf(kernel, image->unpacked_bytes, error);
    if (r < 0)
        return r;
    r = fd_write_full(fd, kernel, image->unpacked_bytes);
    return r < 0 ? error_set_errno(error, -r, "cannot write the unpacked kernel") : 0;
}
