/* SPDX-License-Identifier: Apache-2.0 */

/* VMware's "Virtual Disk Format 5.0": a header in sector 0, and a text, the descriptor, which may
 * name other files: extents, or a parent. A header with a capacity of 0 is only there for the
 * descriptor. QEMU looks for a parent in the 20 sectors from sector 1 on, wherever the header says
 * that the descriptor is, so both are looked at here. */

#include "disk/vmdk.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/fd.h"
#include "base/util.h"

#define SECTOR 512
#define DESCRIPTOR_MAX ((size_t)20 * SECTOR)

static uint64_t get64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

static int refuse(Error *error, const char *why) {
    error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "this VMDK image %s", why);
    error_set_hint(error,
                   "make a whole one of it where it comes from: qemu-img convert -O qcow2 OLD NEW");
    return -ENOTSUP;
}

static bool holds(const char *text, size_t size, const char *word) {
    return memmem(text, size, word, strlen(word)) != NULL;
}

static int check_descriptor(int fd, uint64_t offset, Error *error) {
    char text[DESCRIPTOR_MAX];
    ssize_t n = offset > INT64_MAX / 2 ? -EFBIG : fd_pread_full(fd, text, sizeof(text), offset);
    if (n < 0)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "damaged VMDK image: it has no descriptor");
    if (holds(text, (size_t)n, "parentFileNameHint"))
        return refuse(error, "names a parent");
    if (!holds(text, (size_t)n, "createType"))
        return 0;
    return holds(text, (size_t)n, "\"monolithicSparse\"") ||
                   holds(text, (size_t)n, "\"streamOptimized\"")
               ? 0
               : refuse(error, "keeps its data in other files");
}

int vmdk_check(int fd, Error *error) {
    uint8_t header[SECTOR];
    if (fd_pread_full(fd, header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
        memcmp(header, "KDMV", 4) != 0)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "damaged VMDK image: it was cut off");
    uint64_t capacity = get64(header + 12), descriptor = get64(header + 28);
    if (capacity == 0)
        return refuse(error, "keeps its data in other files");
    if (descriptor > UINT64_MAX / SECTOR)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "damaged VMDK image: it has no descriptor");
    int r = check_descriptor(fd, SECTOR, error);
    return r < 0 || descriptor == 0 ? r : check_descriptor(fd, descriptor * SECTOR, error);
}
