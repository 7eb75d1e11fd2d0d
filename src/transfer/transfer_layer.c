/* SPDX-License-Identifier: Apache-2.0 */

/* docs/interop/qcow2.txt in QEMU tells the header. Of one that arrives only where its tables lie is
 * taken, checked, into a header that overlay.c made: no feature, extension or name comes from
 * outside, above all no backing and no data file. Whether the tables are right qemu-img says. */

#include "transfer/transfer_layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "disk/overlay.h"
#include "disk/publish.h"
#include "home/inside.h"

#define CLUSTER_BYTES ((size_t)65536)
#define FIXED_BYTES 112
#define CHECK_USEC (3600 * USEC_PER_SEC)

enum {
    AT_VERSION = 4,
    AT_BACKING = 8, /* u64 offset, u32 size */
    AT_CLUSTER_BITS = 20,
    AT_SIZE = 24,
    AT_CRYPT = 32,
    AT_L1_ENTRIES = 36, /* u32; u64 offset of the table */
    AT_L1 = 40,
    AT_REFCOUNTS = 48, /* u64 offset of the table, u32 its clusters */
    AT_SNAPSHOTS = 60,
    AT_INCOMPATIBLE = 72,
    AT_AUTOCLEAR = 88,
    AT_REFCOUNT_ORDER = 96,
};

static uint64_t get(const uint8_t *p, size_t size) {
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | p[i];
    return value;
}

static int read_head(int fd, uint8_t head[CLUSTER_BYTES], Error *error) {
    ssize_t n = fd_pread_full(fd, head, CLUSTER_BYTES, 0);
    if (n == (ssize_t)CLUSTER_BYTES)
        return 0;
    return error_set_errno(error, n < 0 ? (int)-n : EBADMSG, "cannot read the head of a layer");
}

int transfer_layer_open(ArchiveFile *file, int fd, Error *error) {
    uint8_t *head = malloc(CLUSTER_BYTES);
    int r = archive_file_of_fd(file, fd, error);
    if (!head)
        abort();
    if (r >= 0)
        r = read_head(fd, head, error);
    if (r < 0) {
        free(head);
        return r;
    }
    memset(head + AT_BACKING, 0, 12);
    memset(head + FIXED_BYTES, 0, CLUSTER_BYTES - FIXED_BYTES);
    file->head = head;
    file->head_bytes = CLUSTER_BYTES;
    return 0;
}

static int bad(Error *error, const char *why) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "a disk layer of the archive is damaged: %s",
                     why);
}

static bool is_table(uint64_t offset, uint64_t bytes, uint64_t file_bytes) {
    return offset % CLUSTER_BYTES == 0 && offset >= CLUSTER_BYTES && offset <= file_bytes &&
           bytes <= file_bytes - offset;
}

static int check_head(const uint8_t *head, uint64_t file_bytes, uint64_t virtual_bytes,
                      Error *error) {
    uint64_t l1 = get(head + AT_L1_ENTRIES, 4), refcounts = get(head + AT_REFCOUNTS + 8, 4);
    uint64_t entries = virtual_bytes / (512 * MIB) + (virtual_bytes % (512 * MIB) != 0);
    if (memcmp(head, "QFI\xfb", 4) != 0 || get(head + AT_VERSION, 4) != 3 ||
        get(head + AT_CLUSTER_BITS, 4) != 16 || get(head + AT_REFCOUNT_ORDER, 4) != 4)
        return bad(error, "it is no layer that ramet writes");
    if (get(head + AT_BACKING, 8) || get(head + AT_BACKING + 8, 4) || get(head + AT_CRYPT, 4) ||
        get(head + AT_SNAPSHOTS, 4) || get(head + AT_INCOMPATIBLE, 8) ||
        get(head + AT_AUTOCLEAR, 8))
        return bad(error, "it has features that no layer has");
    if (get(head + AT_SIZE, 8) != virtual_bytes || l1 < entries || l1 > entries + 8192)
        return bad(error, "its size");
    return is_table(get(head + AT_L1, 8), l1 * 8, file_bytes) && refcounts > 0 &&
                   is_table(get(head + AT_REFCOUNTS, 8), refcounts * CLUSTER_BYTES, file_bytes)
               ? 0
               : bad(error, "its tables");
}

/* A header of ours, by a file that is made for it. */
static int make_head(Home *home, uint64_t virtual_bytes, const char *backing, const char *format,
                     uint8_t head[CLUSTER_BYTES], Error *error) {
    const OverlaySpec spec = {.virtual_bytes = virtual_bytes,
                              .backing_path = backing,
                              .backing_format = format,
                              .no_sync = true};
    _cleanup_free_ char *name = scratch_name("head");
    _cleanup_close_ int tmp =
        openat(home->home_fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    _cleanup_close_ int fd = -1;
    int r = tmp < 0 ? error_set_errno(error, errno, "cannot open tmp")
                    : overlay_create_at(tmp, name, &spec, error);
    if (r < 0)
        return r;
    fd = openat(tmp, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    r = fd < 0 ? error_set_errno(error, errno, "cannot open scratch") : read_head(fd, head, error);
    (void)unlinkat(tmp, name, 0);
    return r;
}

int transfer_layer_adopt(Home *home, int fd, uint64_t virtual_bytes, const char *backing,
                         const char *format, Error *error) {
    _cleanup_free_ uint8_t *came = malloc(CLUSTER_BYTES), *head = malloc(CLUSTER_BYTES);
    struct stat info;
    int r;
    if (!came || !head)
        abort();
    if (fstat(fd, &info) < 0)
        return error_set_errno(error, errno, "cannot look at a layer");
    r = read_head(fd, came, error);
    if (r >= 0)
        r = check_head(came, (uint64_t)info.st_size, virtual_bytes, error);
    if (r >= 0)
        r = make_head(home, virtual_bytes, backing, format, head, error);
    if (r < 0)
        return r;
    memcpy(head + AT_L1_ENTRIES, came + AT_L1_ENTRIES, 12);
    memcpy(head + AT_REFCOUNTS, came + AT_REFCOUNTS, 12);
    r = fd_pwrite_full(fd, head, CLUSTER_BYTES, 0);
    return r < 0 ? error_set_errno(error, -r, "cannot write a layer's head") : 0;
}

int transfer_layer_check(const char *path, int cancel_fd, Error *error) {
    const char *argv[] = {"qemu-img", "check", "-q", "-U", "-f", "qcow2", path, NULL};
    const SpawnOptions options = {.program = "qemu-img", .argv = (char *const *)argv, .nice = 5};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    _cleanup_error_ Error found = ERROR_INIT;
    int r = spawn_run(&options, CHECK_USEC, cancel_fd, &output, &found);
    if (r >= 0 || output.status == 3 << 8) /* clusters that nobody uses: harmless */
        return 0;
    if (found.kind != ERROR_FAILED)
        return error_move(error, &found);
    return bad(error, error_message(&found));
}
