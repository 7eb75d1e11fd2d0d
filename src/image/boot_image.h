/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_BOOT_IMAGE_H
#define RAMET_IMAGE_BOOT_IMAGE_H

/* Reading a bzImage as its boot protocol describes it (kernel: Documentation/arch/x86/boot.rst), to
 * get the uncompressed kernel out of it. Its bytes may come from anywhere, so they are hostile. */

#include <stdbool.h>

#include "base/error.h"

/* Largest kernel taken, compressed or not. Debian's is 8 MiB packed and 60 MiB unpacked. */
#define BOOT_IMAGE_MAX_BYTES (512 * MIB)

typedef struct BootImage {
    uint16_t protocol;       /* 0x020f is 2.15 */
    uint64_t payload_offset; /* from the file's start */
    uint64_t payload_bytes;  /* the last 4 of them are the size that follows */
    uint64_t unpacked_bytes; /* of the ELF kernel and the relocations behind it */
    char version[128];       /* first word of kernel_version, "" when there is none */
} BootImage;

/* Does it carry the magic of a bzImage ("HdrS" at 0x202)? */
bool boot_image_is_bzimage(const uint8_t *data, size_t size);

/* Parses the header and checks every offset against size. ERROR_CORRUPT says what does not fit. */
int boot_image_parse(const uint8_t *data, size_t size, BootImage *image, Error *error);

/* Unpacks the payload (gzip, bzip2, lzma, xz, lz4 legacy or zstd) and writes it to fd.
 * ERROR_CORRUPT when it is damaged or no ELF for x86-64. */
int boot_image_extract(const uint8_t *data, size_t size, const BootImage *image, int fd,
                       Error *error);

/* Is it an ELF executable for x86-64 that a loader may take: header and program headers inside the
 * file? ERROR_CORRUPT otherwise. */
int boot_image_check_elf(const uint8_t *data, size_t size, Error *error);

#endif
