/* SPDX-License-Identifier: Apache-2.0 */

/* Sparse copies: the source's data extents are found with SEEK_DATA and SEEK_HOLE, and what is zero
 * inside of them is left out too, in blocks of 4 KiB. copy_file_range(2) is not used: it copies
 * zeroes as they are, and on several file systems writes out holes. */

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/publish.h"
#include "disk/sparse.h"

#define BLOCK_BYTES 4096
#define COPY_BYTES ((size_t)1 << 20)

/* Bytes to the next block boundary of the file, at most `size`. */
static size_t block_part(uint64_t offset, size_t size) {
    size_t part = BLOCK_BYTES - (size_t)(offset % BLOCK_BYTES);
    return part < size ? part : size;
}

/* The length of the run of whole blocks, from the start of data, that are all zero or all not. */
static size_t block_run(const uint8_t *data, size_t size, uint64_t offset, bool *zero) {
    size_t run = block_part(offset, size), part;
    *zero = bytes_are_zero(data, run);
    while (run < size) {
        part = block_part(offset + run, size - run);
        if (bytes_are_zero(data + run, part) != *zero)
            break;
        run += part;
    }
    return run;
}

int sparse_write(int fd, const void *data, size_t size, uint64_t offset, uint64_t *stored) {
    const uint8_t *bytes = data;
    uint64_t count = 0;
    size_t run;
    bool zero;
    int r;
    for (; size > 0; bytes += run, size -= run, offset += run) {
        run = block_run(bytes, size, offset, &zero);
        if (zero)
            continue;
        r = fd_pwrite_full(fd, bytes, run, offset);
        if (r < 0)
            return r;
        count += run;
    }
    if (stored)
        *stored = count;
    return 0;
}

static int copy_extent(int source_fd, int target_fd, void *buffer, uint64_t start, uint64_t end,
                       Error *error) {
    ssize_t n;
    int r;
    for (uint64_t at = start; at < end; at += (uint64_t)n) {
        n = fd_pread_full(source_fd, buffer, (size_t)MIN_OF(end - at, (uint64_t)COPY_BYTES), at);
        if (n < 0)
            return error_set_errno(error, (int)-n, "cannot read the source of a copy");
        if (n == 0)
            return error_set(error, ERROR_CONFLICT, EBUSY,
                             "the source of the copy changed while it was read: it became shorter");
        r = sparse_write(target_fd, buffer, (size_t)n, at, NULL);
        if (r < 0)
            return error_set_errno(error, -r, "cannot write a copy");
    }
    return 0;
}

/* Finds the next data extent at or after `at`: *start == size when there is none. A file system
 * without SEEK_DATA says EINVAL: then all is data. */
static int next_extent(int fd, uint64_t at, uint64_t size, uint64_t *start, uint64_t *end) {
    off_t from = lseek(fd, (off_t)at, SEEK_DATA), to;
    if (from < 0 && errno == ENXIO) {
        *start = *end = size;
        return 0;
    }
    if (from < 0 && errno == EINVAL) {
        *start = at;
        *end = size;
        return 0;
    }
    if (from < 0)
        return -errno;
    to = lseek(fd, from, SEEK_HOLE);
    if (to < 0)
        return -errno;
    *start = MIN_OF((uint64_t)from, size);
    *end = MIN_OF((uint64_t)to, size);
    return 0;
}

int sparse_copy(int source_fd, int target_fd, Error *error) {
    _cleanup_free_ void *buffer = malloc(COPY_BYTES);
    struct stat status;
    uint64_t start = 0, end = 0, size;
    int r;
    if (!buffer)
        abort();
    if (fstat(source_fd, &status) < 0)
        return error_set_errno(error, errno, "cannot look at the source of a copy");
    size = (uint64_t)status.st_size;
    if (ftruncate(target_fd, (off_t)size) < 0)
        return error_set_errno(error, errno, "cannot set the size of a copy");
    for (uint64_t at = 0; at < size; at = end) {
        r = next_extent(source_fd, at, size, &start, &end);
        if (r < 0)
            return error_set_errno(error, -r, "cannot find the data of the source of a copy");
        r = copy_extent(source_fd, target_fd, buffer, start, end, error);
        if (r < 0)
            return r;
    }
    return 0;
}

bool reflink_is_absent(int errnum) {
    switch (errnum) {
    case EINVAL:
    case ENOTSUP: /* EOPNOTSUPP is the same number on Linux */
    case EXDEV:
    case ETXTBSY:
    case EISDIR:
    case ENOTTY:
        return true;
    default:
        return false;
    }
}

static int scratch_file(const char *folder, int *fd, Error *error) {
    _cleanup_free_ char *name = scratch_name("reflink"), *path = path_join(folder, name);
    *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*fd < 0)
        return error_set_errno(error, errno, "cannot make a scratch file in %s", folder);
    (void)unlink(path); /* the descriptor is enough from here on */
    return 0;
}

int reflink_probe(const char *folder, bool *supported, Error *error) {
    _cleanup_close_ int from = -1, to = -1;
    _cleanup_free_ char *block = calloc(1, BLOCK_BYTES);
    int r;
    if (!block)
        abort();
    memset(block, 'r', BLOCK_BYTES);
    r = scratch_file(folder, &from, error);
    if (r >= 0)
        r = scratch_file(folder, &to, error);
    if (r < 0)
        return r;
    r = fd_pwrite_full(from, block, BLOCK_BYTES, 0);
    if (r < 0)
        return error_set_errno(error, -r, "cannot write to %s", folder);
    if (ioctl(to, FICLONE, from) == 0) {
        *supported = true;
        return 0;
    }
    if (!reflink_is_absent(errno))
        return error_set_errno(error, errno, "cannot try a reflink in %s", folder);
    *supported = false;
    return 0;
}

int file_clone_or_sparse_copy(int source_fd, int target_fd, bool *cloned, Error *error) {
    bool done = ioctl(target_fd, FICLONE, source_fd) == 0;
    int r;
    if (!done && !reflink_is_absent(errno))
        return error_set_errno(error, errno, "cannot reflink a file");
    if (!done) {
        r = sparse_copy(source_fd, target_fd, error);
        if (r < 0)
            return r;
    }
    if (cloned)
        *cloned = done;
    return 0;
}
