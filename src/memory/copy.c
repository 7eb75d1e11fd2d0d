/* SPDX-License-Identifier: Apache-2.0 */

#include "memory/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"

#define CHUNK_BYTES ((uint64_t)256 * KIB) /* stays in the cache */
#define WRITEBACK_BYTES ((uint64_t)16 * MIB)

static int copy_chunk(int from, uint64_t from_offset, int to, uint64_t to_offset, uint8_t *buffer,
                      uint64_t size) {
    ssize_t got = fd_pread_full(from, buffer, size, from_offset);
    if (got != (ssize_t)size)
        return got < 0 ? (int)got : -EIO;
    return fd_pwrite_full(to, buffer, size, to_offset);
}

int memory_copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset, uint64_t bytes) {
    _cleanup_free_ uint8_t *buffer = malloc(CHUNK_BYTES);
    uint64_t done = 0, size;
    if (!buffer)
        abort();
    for (uint64_t started = 0; done < bytes; done += size) {
        size = MIN_OF(bytes - done, CHUNK_BYTES);
        int r = copy_chunk(from, from_offset + done, to, to_offset + done, buffer, size);
        if (r < 0)
            return r;
        if (done + size - started < WRITEBACK_BYTES)
            continue;
        (void)sync_file_range(to, (off_t)(to_offset + started), (off_t)(done + size - started),
                              SYNC_FILE_RANGE_WRITE);
        started = done + size;
    }
    return 0;
}

int memory_copy_data(int from, int to, uint64_t size_bytes) {
    uint64_t start, end;
    for (uint64_t at = 0; at < size_bytes; at = end) {
        fd_find_data(from, at, size_bytes, &start, &end);
        int r = memory_copy_range(from, start, to, start, end - start);
        if (r < 0)
            return r;
    }
    return 0;
}

int memory_write_file(int memfd, int to, uint64_t size_bytes) {
    return ftruncate(to, (off_t)size_bytes) < 0 ? -errno : memory_copy_data(memfd, to, size_bytes);
}
