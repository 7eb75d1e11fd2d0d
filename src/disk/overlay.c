/* SPDX-License-Identifier: Apache-2.0 */

/* The qcow2 writer. A new file has no guest data, so all of it is known beforehand:
 *
 *   cluster 0      header, extensions, name of the backing file
 *   cluster 1      refcount table: one entry, cluster 2
 *   cluster 2      refcount block (16 bits a cluster): 1 for each cluster of this file
 *   cluster 3 …    L1 table, all zero, hence a hole
 *
 * One refcount block counts 32768 clusters (2 GiB of file), and the largest L1 table that QEMU
 * opens is 512 clusters, so that one block always suffices. Three small writes are all; the rest
 * are holes. A failure removes the file again. Format: docs/interop/qcow2.txt in QEMU. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "disk/overlay.h"
#include "disk/qcow2.h"

#define CLUSTER_BITS 16
#define CLUSTER_BYTES ((uint64_t)1 << CLUSTER_BITS)
#define L1_ENTRY_BYTES ((uint64_t)1 << (2 * CLUSTER_BITS - 3)) /* 512 MiB of the disk */
#define FIXED_CLUSTERS 3
#define HEADER_BYTES \
    112 /* with the compression type and its padding, as QEMU since 5.1 writes it */
#define EXTENSION_BACKING_FORMAT 0xe2792acaU
#define FORMAT_MAX 16
#define FIRST_BYTES (HEADER_BYTES + 8 + FORMAT_MAX + 8 + QCOW2_NAME_MAX)

typedef struct Layout {
    uint64_t virtual_bytes;
    uint64_t l1_entries;
    uint64_t clusters;
} Layout;

static void put16(uint8_t *p, uint16_t value) {
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value) {
    put16(p, (uint16_t)(value >> 16));
    put16(p + 2, (uint16_t)value);
}

static void put64(uint8_t *p, uint64_t value) {
    put32(p, (uint32_t)(value >> 32));
    put32(p + 4, (uint32_t)value);
}

static uint64_t divide_up(uint64_t value, uint64_t by) {
    return value / by + (value % by != 0);
}

/* ---- sizes ---- */

static int backing_file_bytes(const OverlaySpec *spec, int fd, uint64_t *bytes, Error *error) {
    _cleanup_qcow2_info_ Qcow2Info info = {0};
    struct stat status;
    int r;
    if (str_equal(spec->backing_format, "qcow2")) {
        r = qcow2_read_info(fd, &info, error);
        if (r < 0)
            return error_add_context(error, "backing file %s", spec->backing_path);
        *bytes = info.virtual_bytes;
        return 0;
    }
    if (fstat(fd, &status) < 0)
        return error_set_errno(error, errno, "cannot look at backing file %s", spec->backing_path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_USAGE, EINVAL, "backing file %s is not a regular file",
                         spec->backing_path);
    *bytes = (uint64_t)status.st_size;
    return 0;
}

static int check_backing(const OverlaySpec *spec, uint64_t *bytes, Error *error) {
    _cleanup_close_ int fd = -1;
    uint64_t found = 0;
    int r;
    if (spec->backing_path[0] != '/' || strlen(spec->backing_path) > QCOW2_NAME_MAX)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "backing file must be an absolute path of at most %d bytes: %s",
                         QCOW2_NAME_MAX, spec->backing_path);
    if (!str_equal(spec->backing_format, "raw") && !str_equal(spec->backing_format, "qcow2"))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "format of a backing file must be raw or qcow2");
    fd = open(spec->backing_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open backing file %s", spec->backing_path);
    r = backing_file_bytes(spec, fd, &found, error);
    if (r < 0)
        return r;
    if (found == 0 || found % 512 != 0)
        return error_set(error, ERROR_CORRUPT, EINVAL,
                         "backing file %s has %llu bytes, not a multiple of 512",
                         spec->backing_path, (unsigned long long)found);
    *bytes = found;
    return 0;
}

static int check_size(uint64_t bytes, uint64_t backing_bytes, Error *error) {
    if (bytes == 0 || bytes % 512 != 0)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "a disk of %llu bytes is not a multiple of 512",
                         (unsigned long long)bytes);
    if (bytes > OVERLAY_MAX_BYTES)
        return error_set(error, ERROR_USAGE, EFBIG, "a disk of %llu bytes is larger than 2 PiB",
                         (unsigned long long)bytes);
    if (bytes < backing_bytes) {
        _cleanup_free_ char *have = format_size(backing_bytes), *want = format_size(bytes);
        error_set(error, ERROR_USAGE, EINVAL, "a disk can only grow: its base has %s, asked for %s",
                  have, want);
        error_set_hint(error, "ask for at least %llu bytes", (unsigned long long)backing_bytes);
        return -EINVAL;
    }
    return 0;
}

static int plan_layout(const OverlaySpec *spec, Layout *layout, Error *error) {
    uint64_t backing_bytes = 0, bytes;
    int r;
    if (spec->backing_path) {
        r = check_backing(spec, &backing_bytes, error);
        if (r < 0)
            return r;
    }
    bytes = spec->virtual_bytes ? spec->virtual_bytes : backing_bytes;
    r = check_size(bytes, backing_bytes, error);
    if (r < 0)
        return r;
    layout->virtual_bytes = bytes;
    layout->l1_entries = divide_up(bytes, L1_ENTRY_BYTES);
    layout->clusters = FIXED_CLUSTERS + divide_up(layout->l1_entries * 8, CLUSTER_BYTES);
    return 0;
}

/* ---- writing ---- */

/* Header, backing format extension, end of extensions (zeroes), name of the backing file. */
static size_t fill_header(const OverlaySpec *spec, const Layout *layout, uint8_t *p) {
    size_t at = HEADER_BYTES, length;
    put32(p, QCOW2_MAGIC);
    put32(p + 4, 3);
    put32(p + 20, CLUSTER_BITS);
    put64(p + 24, layout->virtual_bytes);
    put32(p + 36, (uint32_t)layout->l1_entries);
    put64(p + 40, FIXED_CLUSTERS * CLUSTER_BYTES);
    put64(p + 48, 1 * CLUSTER_BYTES);
    put32(p + 56, 1);
    put32(p + 96, 4); /* refcounts of 1 << 4 bits */
    put32(p + 100, HEADER_BYTES);
    if (!spec->backing_path)
        return at + 8;
    length = strlen(spec->backing_format);
    put32(p + at, EXTENSION_BACKING_FORMAT);
    put32(p + at + 4, (uint32_t)length);
    memcpy(p + at + 8, spec->backing_format, length);
    at += 8 + ((length + 7) & ~(size_t)7) + 8;
    length = strlen(spec->backing_path);
    put64(p + 8, at);
    put32(p + 16, (uint32_t)length);
    memcpy(p + at, spec->backing_path, length);
    return at + length;
}

static int write_file(int fd, const OverlaySpec *spec, const Layout *layout) {
    uint8_t first[FIRST_BYTES] = {0}, table[8], block[2 * (FIXED_CLUSTERS + 512)];
    size_t size = fill_header(spec, layout, first);
    int r;
    put64(table, 2 * CLUSTER_BYTES);
    for (size_t i = 0; i < layout->clusters; i++)
        put16(block + 2 * i, 1);
    if (ftruncate(fd, (off_t)(layout->clusters * CLUSTER_BYTES)) < 0)
        return -errno;
    r = fd_pwrite_full(fd, first, size, 0);
    if (r >= 0)
        r = fd_pwrite_full(fd, table, sizeof(table), CLUSTER_BYTES);
    if (r >= 0)
        r = fd_pwrite_full(fd, block, 2 * layout->clusters, 2 * CLUSTER_BYTES);
    if (r >= 0 && !spec->no_sync && fsync(fd) < 0)
        r = -errno;
    return r;
}

int overlay_create_at(int dir_fd, const char *name, const OverlaySpec *spec, Error *error) {
    _cleanup_close_ int fd = -1;
    Layout layout;
    int r;
    r = plan_layout(spec, &layout, error);
    if (r < 0)
        return error_add_context(error, "cannot make overlay %s", name);
    fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return error_set(error, ERROR_CONFLICT, EEXIST, "cannot make overlay %s: the file exists",
                         name);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot make overlay %s", name);
    r = write_file(fd, spec, &layout);
    if (r >= 0 && !spec->no_sync && fsync(dir_fd) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlinkat(dir_fd, name, 0);
        return error_set_errno(error, -r, "cannot write overlay %s", name);
    }
    return 0;
}
