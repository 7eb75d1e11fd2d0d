/* SPDX-License-Identifier: Apache-2.0 */

#include "memory/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"

#define COPY_CHUNK_BYTES (1u << 20)

static int copy_extent(int from, int to, off_t start, off_t end) {
    _cleanup_free_ uint8_t *buffer = malloc(COPY_CHUNK_BYTES);
    if (!buffer)
        abort();
    while (start < end) {
        size_t n = MIN_OF((uint64_t)(end - start), (uint64_t)COPY_CHUNK_BYTES);
        ssize_t got = fd_pread_full(from, buffer, n, (uint64_t)start);
        if (got <= 0)
            return got < 0 ? (int)got : -EIO;
        int r = fd_pwrite_full(to, buffer, (size_t)got, (uint64_t)start);
        if (r < 0)
            return r;
        start += got;
    }
    return 0;
}

int memory_copy_data(int from, int to, uint64_t size_bytes) {
    off_t position = 0;
    while (position < (off_t)size_bytes) {
        off_t start = lseek(from, position, SEEK_DATA);
        if (start < 0)
            return errno == ENXIO ? 0 : -errno;
        off_t end = lseek(from, start, SEEK_HOLE);
        if (end < 0)
            return -errno;
        int r = copy_extent(from, to, start, end);
        if (r < 0)
            return r;
        position = end;
    }
    return 0;
}
