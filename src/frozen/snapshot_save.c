/* SPDX-License-Identifier: Apache-2.0 */

/* Nobody is paused while files are finished: the VM went on when its keeper had written them. */

#include "frozen/snapshot_save.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/str.h"
#include "frozen/packed.h"
#include "frozen/snapshot_files.h"
#include "frozen/stamp.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/operation.h"
#include "store/snapshots.h"

int snapshot_save_begin(Home *home, const char *id, int cancel_fd, Publish **files, Error *error) {
    PublishOptions options = {.home = home->path,
                              .kind = "snapshots",
                              .name = id,
                              .folder = true,
                              .deadline_usec = clock_monotonic_usec() + 60 * USEC_PER_SEC,
                              .cancel_fd = cancel_fd};
    bool exists;
    return publish_begin(&options, files, &exists, error);
}

static int create(int dir_fd, const char *name, int access, int *fd, Error *error) {
    *fd = openat(dir_fd, name, access | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return *fd < 0 ? error_set_errno(error, errno, "cannot make the snapshot's %s", name) : 0;
}

int snapshot_save_open(Publish *files, int *state_fd, int *memory_fd, Error *error) {
    int dir_fd = publish_scratch_fd(files);
    _cleanup_close_ int state = -1;
    int r = create(dir_fd, "state", O_WRONLY, &state, error); /* as QEMU wants it */
    if (r >= 0)
        r = create(dir_fd, "memory", O_RDWR, memory_fd, error);
    if (r >= 0)
        *state_fd = TAKE_FD(state);
    return r;
}

int snapshot_save_link(Home *home, Publish *files, const SnapshotRow *from, Error *error) {
    const char *names[] = {from->data.files.memory.name, from->data.files.state.name};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_free_ char *path = snapshot_path(home, from->id, names[i]);
        if (linkat(AT_FDCWD, path, publish_scratch_fd(files), names[i], 0) < 0)
            return error_set_errno(error, errno, "cannot take over %s", path);
    }
    return 0;
}

/* ---- finishing ---- */

static int name_files(int dir_fd, SnapshotRow *row, Error *error) {
    const char *name = snapshot_is_diff(row) ? "memory.diff" : "memory.base";
    if (renameat(dir_fd, "memory", dir_fd, name) < 0)
        return error_set_errno(error, errno, "cannot name the saved memory");
    str_set(row->data.files.memory.name, name);
    str_set(row->data.files.state.name, "state");
    return 0;
}

static int pack(int from, int to, SnapshotFile *file, Error *error) {
    struct stat info;
    int r = packed_write(from, to, file->sha256, &file->bytes, error);
    if (r >= 0)
        r = sha256_file(to, file->stored_sha256, error);
    if (r >= 0)
        r = stamp_make(to, &file->stamp, error);
    if (r < 0)
        return r;
    if (fstat(from, &info) < 0)
        return error_set_errno(error, errno, "cannot look at the saved memory");
    file->data_bytes = (uint64_t)info.st_blocks * 512;
    str_set(file->compressed, "zstd");
    return 0;
}

/* NAME.zst in the place of NAME. */
static int pack_file(int dir_fd, SnapshotFile *file, Error *error) {
    _cleanup_free_ char *name = str_format("%s.zst", file->name);
    SnapshotFile made = {0};
    _cleanup_close_ int from = openat(dir_fd, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    _cleanup_close_ int to = -1;
    int r;
    if (from < 0)
        return error_set_errno(error, errno, "cannot open %s to compress it", file->name);
    str_set(made.name, name);
    r = create(dir_fd, name, O_RDWR, &to, error);
    if (r >= 0)
        r = pack(from, to, &made, error);
    if (r >= 0 && unlinkat(dir_fd, file->name, 0) < 0)
        r = error_set_errno(error, errno, "cannot remove what was compressed");
    if (r >= 0)
        *file = made;
    return r;
}

/* The memory is large: it is hashed behind (memory_digest.h). */
static int record_file(int dir_fd, bool hashed, SnapshotFile *file, Error *error) {
    _cleanup_close_ int fd = openat(dir_fd, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int r;
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open the saved %s", file->name);
    r = hashed ? sha256_file(fd, file->sha256, error) : 0;
    return r < 0 ? r : stamp_make(fd, &file->stamp, error);
}

int snapshot_save_finish(Operation *operation, Publish *files, bool compress, SnapshotRow *row,
                         Error *error) {
    SnapshotFile *memory = &row->data.files.memory, *state = &row->data.files.state;
    int dir_fd = publish_scratch_fd(files), r = 0;
    operation_enter(operation, "publish");
    if (!*memory->name)
        r = name_files(dir_fd, row, error);
    if (r >= 0 && compress && !snapshot_file_is_packed(memory)) {
        operation_enter(operation, "compress");
        r = pack_file(dir_fd, memory, error);
    }
    if (r >= 0 && !memory->stamp.inode)
        r = record_file(dir_fd, false, memory, error);
    if (r >= 0 && !*state->sha256)
        r = record_file(dir_fd, true, state, error);
    return r < 0 ? r : publish_commit(files, error);
}
