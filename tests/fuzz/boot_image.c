/* SPDX-License-Identifier: Apache-2.0 */

/* A kernel that a user brings: header, unpacking, ELF check. */
#include <fcntl.h>
#include <unistd.h>

#include "image/boot_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int null_fd = -1;
    BootImage image;
    if (null_fd < 0)
        null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)boot_image_check_elf(data, size, NULL);
    /* Larger ones only cost time: the buffer is as large as the header says. */
    if (boot_image_parse(data, size, &image, NULL) == 0 && image.unpacked_bytes < MIB)
        (void)boot_image_extract(data, size, &image, null_fd, NULL);
    return 0;
}
