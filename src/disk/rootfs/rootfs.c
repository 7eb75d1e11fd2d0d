/* SPDX-License-Identifier: Apache-2.0 */

/* Root file systems to ext4:
 *
 *   tar ─▶ unpack_tar into scratch ─▶ measure ─▶ mke2fs -d ─▶ (debugfs: one time for all inodes)
 *
 * The folder is measured, so that the file system has room for its content and its number of files.
 * Any line on mke2fs's or debugfs's standard error makes it fail: both are known to go on after a
 * file that they could not copy. Scratch is removed whatever happens; the output is the caller's
 * scratch. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/publish.h"
#include "disk/rootfs/rootfs.h"
#include "disk/rootfs/rootfs_parts.h"
#include "disk/rootfs/rootfs_tools.h"
#include "disk/rootfs/tar_unpack.h"

#define BLOCK_BYTES ((uint64_t)4096)
#define INODE_BYTES ((uint64_t)256)
#define FIRST_INODE 11 /* lost+found; what is copied follows without gaps */
#define ROOT_INODE 2
#define SPARE_BYTES ((uint64_t)64 << 20)
#define DEFAULT_MAX_ENTRIES ((uint64_t)4000000)
#define DEPTH_MAX 1024

typedef struct Measure {
    uint64_t bytes;  /* as the files say */
    uint64_t blocks; /* of BLOCK_BYTES */
    uint64_t entries;
} Measure;

static uint64_t round_up(uint64_t value, uint64_t to) {
    return (value + to - 1) / to * to;
}

/* ---- measuring ---- */

static void closedir_p(DIR **stream) {
    if (*stream)
        (void)closedir(*stream);
}

static int measure_folder(int parent_fd, const char *name, unsigned depth, Measure *measure,
                          Error *error);

static int measure_entry(int folder_fd, const char *name, unsigned depth, Measure *measure,
                         Error *error) {
    struct stat status;
    if (fstatat(folder_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set_errno(error, errno, "cannot look at %s", name);
    measure->entries++;
    if (S_ISREG(status.st_mode)) {
        measure->bytes += (uint64_t)status.st_size;
        measure->blocks += round_up((uint64_t)status.st_size, BLOCK_BYTES) / BLOCK_BYTES;
    } else {
        measure->blocks++;
    }
    return S_ISDIR(status.st_mode) ? measure_folder(folder_fd, name, depth + 1, measure, error) : 0;
}

static int measure_folder(int parent_fd, const char *name, unsigned depth, Measure *measure,
                          Error *error) {
    _cleanup_(closedir_p) DIR *stream = NULL;
    struct dirent *entry;
    int fd, r;
    if (depth > DEPTH_MAX)
        return error_set(error, ERROR_CORRUPT, ELOOP, "folders nested deeper than %d", DEPTH_MAX);
    fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream) {
        r = error_set_errno(error, errno, "cannot read folder %s", name);
        (void)fd_close(fd);
        return r;
    }
    for (errno = 0; (entry = readdir(stream)); errno = 0) {
        if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
            continue;
        r = measure_entry(fd, entry->d_name, depth, measure, error);
        if (r < 0)
            return r;
    }
    return errno == 0 ? 0 : error_set_errno(error, errno, "cannot read folder %s", name);
}

static uint64_t count_inodes(const Measure *measure, uint64_t disk_bytes) {
    return MAX_OF(measure->entries * 5 / 4 + 4096, disk_bytes / 16384);
}

static uint64_t disk_size(const RootfsOptions *options, const Measure *measure) {
    uint64_t bytes = measure->blocks * BLOCK_BYTES + measure->entries * INODE_BYTES * 5 / 4;
    if (options->size_bytes > 0)
        return round_up(options->size_bytes, BLOCK_BYTES);
    return round_up(bytes + bytes / 4 + SPARE_BYTES, MIB);
}

/* ---- tools ---- */

static int require_tools(const RootfsOptions *options, Error *error) {
    int r = rootfs_require_tool("mke2fs", "e2fsprogs", error);
    if (r >= 0 && options->epoch_sec > 0)
        r = rootfs_require_tool("debugfs", "e2fsprogs", error);
    if (r >= 0 && geteuid() != 0)
        r = rootfs_require_tool("fakeroot", "fakeroot", error);
    return r;
}

/* ---- mke2fs ---- */

static void add_fakeroot(StrList *argv, const char *state_path) {
    if (geteuid() == 0)
        return;
    strlist_add(argv, "fakeroot");
    if (state_path)
        strlist_add_many(argv, "-i", state_path, NULL);
    strlist_add(argv, "--");
}

/* folder NULL: it stays empty. */
static int run_mke2fs(const char *folder, const char *state_path, const RootfsOptions *options,
                      uint64_t inodes, uint64_t bytes, Error *error) {
    _cleanup_(strlist_free) StrList argv = {0};

    if (folder)
        add_fakeroot(&argv, state_path);
    strlist_add_many(&argv, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1", "-L",
                     options->label ? options->label : "root", NULL);
    strlist_add(&argv, "-N");
    strlist_add_format(&argv, "%llu", (unsigned long long)inodes);
    if (options->uuid)
        strlist_add_many(&argv, "-U", options->uuid, NULL);
    strlist_add(&argv, "-E");
    strlist_add_format(&argv, "nodiscard,lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0%s%s",
                       options->uuid ? ",hash_seed=" : "", options->uuid ? options->uuid : "");
    if (folder)
        strlist_add_many(&argv, "-d", folder, NULL);
    strlist_add(&argv, options->output_path);
    strlist_add_format(&argv, "%lluk", (unsigned long long)(bytes / 1024));
    return rootfs_run_tool(&argv, options->epoch_sec, options->cancel_fd, error);
}

static uint32_t get_le32(const uint8_t *p) {
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

/* Inodes in use, from the superblock at 1024: s_inodes_count and s_free_inodes_count (kernel's
 * Documentation/filesystems/ext4/super.rst). */
static int used_inodes(const char *path, uint32_t *used, Error *error) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t super[64] = {0};
    ssize_t n = fd < 0 ? -errno : fd_pread_full(fd, super, sizeof(super), 1024);
    if (n < 0)
        return error_set_errno(error, (int)-n, "cannot read the new file system");
    if ((size_t)n < sizeof(super) || super[56] != 0x53 || super[57] != 0xef)
        return error_set(error, ERROR_FAILED, EIO, "mke2fs made no ext4 file system");
    *used = get_le32(super) - get_le32(super + 16);
    return 0;
}

static void script_inode(FILE *script, uint32_t inode, uint64_t epoch_sec) {
    static const char *const FIELDS[] = {"atime", "ctime", "mtime", "crtime"};
    for (size_t i = 0; i < ARRAY_SIZE(FIELDS); i++) {
        fprintf(script, "set_inode_field <%u> %s @%llu\n", inode, FIELDS[i],
                (unsigned long long)epoch_sec);
        fprintf(script, "set_inode_field <%u> %s_extra 0\n", inode, FIELDS[i]);
    }
}

static int write_script(const char *path, uint32_t used, uint64_t epoch_sec, Error *error) {
    FILE *script = fopen(path, "we");
    bool bad;
    if (!script)
        return error_set_errno(error, errno, "cannot make scratch %s", path);
    script_inode(script, ROOT_INODE, epoch_sec);
    for (uint32_t inode = FIRST_INODE; inode <= used; inode++)
        script_inode(script, inode, epoch_sec);
    bad = ferror(script) != 0;
    if (fclose(script) != 0 || bad)
        return error_set(error, ERROR_NO_SPACE, ENOSPC, "cannot write scratch %s", path);
    return 0;
}

static int write_extras(const char *path, const char *folder, size_t *n_lines, Error *error) {
    FILE *script = fopen(path, "we");
    int r;
    if (!script)
        return error_set_errno(error, errno, "cannot make scratch %s", path);
    r = rootfs_write_times(folder, script, n_lines, error);
    if ((ferror(script) | fclose(script)) != 0 && r >= 0)
        r = error_set(error, ERROR_NO_SPACE, ENOSPC, "cannot write scratch %s", path);
    return r;
}

/* mke2fs -d copies the times of the folder's inodes, of which the change time cannot be chosen, and
 * the rest not whole (rootfs_times.c). */
static int set_times(const char *folder, const RootfsOptions *options, Error *error) {
    _cleanup_(strlist_free) StrList argv = {0};
    _cleanup_free_ char *name = scratch_name("times"),
                        *path = path_join(options->scratch_folder, name);
    uint32_t used = 0;
    size_t n_lines = 1;
    int r = 0;
    if (options->epoch_sec == 0)
        r = write_extras(path, folder, &n_lines, error);
    else
        r = used_inodes(options->output_path, &used, error);
    if (r >= 0 && options->epoch_sec > 0)
        r = write_script(path, used, options->epoch_sec, error);
    if (r >= 0 && n_lines > 0)
        r = rootfs_require_tool("debugfs", "e2fsprogs", error);
    if (r >= 0 && n_lines > 0) {
        strlist_add_many(&argv, "debugfs", "-w", "-f", path, options->output_path, NULL);
        r = rootfs_run_tool(&argv, options->epoch_sec, options->cancel_fd, error);
    }
    (void)unlink(path);
    return r;
}

static int folder_to_ext4(const char *folder, const char *state_path, const RootfsOptions *options,
                          RootfsResult *result, Error *error) {
    Measure measure = {0};
    uint64_t bytes;
    int r;
    r = measure_folder(AT_FDCWD, folder, 0, &measure, error);
    if (r < 0)
        return r;
    if (measure.entries == 0)
        return error_set(error, ERROR_CORRUPT, ENODATA, "the root file system is empty");
    bytes = disk_size(options, &measure);
    if (truncate(options->output_path, 0) < 0)
        return error_set_errno(error, errno, "cannot write %s", options->output_path);
    r = run_mke2fs(folder, state_path, options, count_inodes(&measure, bytes), bytes, error);
    if (r >= 0)
        r = set_times(folder, options, error);
    if (r < 0)
        return r;
    result->virtual_bytes = bytes;
    result->content_bytes = measure.bytes;
    result->entries = measure.entries;
    return 0;
}

int rootfs_folder_to_ext4(const char *folder, const RootfsOptions *options, RootfsResult *result,
                          Error *error) {
    RootfsResult made = {0};
    int r = require_tools(options, error);
    if (r >= 0)
        r = folder_to_ext4(folder, NULL, options, &made, error);
    if (r >= 0)
        *result = made;
    return r;
}

int rootfs_make_empty(const RootfsOptions *options, uint64_t inodes, Error *error) {
    int r = rootfs_require_tool("mke2fs", "e2fsprogs", error);
    if (r < 0)
        return r;
    if (truncate(options->output_path, 0) < 0)
        return error_set_errno(error, errno, "cannot write %s", options->output_path);
    return run_mke2fs(NULL, NULL, options, inodes, options->size_bytes, error);
}

/* ---- tar ---- */

static int unpack_bound(const RootfsOptions *options, uint64_t *max_bytes, Error *error) {
    struct statvfs status;
    if (options->max_bytes > 0) {
        *max_bytes = options->max_bytes;
        return 0;
    }
    if (statvfs(options->scratch_folder, &status) < 0)
        return error_set_errno(error, errno, "cannot look at %s", options->scratch_folder);
    *max_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    return 0;
}

static int unpack_into(ExtractSource *source, const char *folder, const char *state_path,
                       const RootfsOptions *options, char sha256[SHA256_HEX_SIZE], Error *error) {
    _cleanup_close_ int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    UnpackOptions unpack = {
        .folder_fd = folder_fd,
        .state_path = state_path,
        .max_entries = options->max_entries ? options->max_entries : DEFAULT_MAX_ENTRIES,
        .cancel_fd = options->cancel_fd,
        .progress = options->progress,
        .progress_data = options->progress_data,
    };
    int r;

    if (folder_fd < 0)
        return error_set_errno(error, errno, "cannot open scratch %s", folder);
    r = unpack_bound(options, &unpack.max_bytes, error);
    if (r >= 0)
        r = unpack_tar(source, &unpack, error);
    if (r >= 0)
        r = extract_source_finish(source, options->expected_sha256, sha256, error);
    return r;
}

int rootfs_tar_to_ext4(ExtractSource *source, const RootfsOptions *options, RootfsResult *result,
                       Error *error) {
    _cleanup_free_ char *name = scratch_name("rootfs"),
                        *scratch = path_join(options->scratch_folder, name);
    _cleanup_free_ char *folder = path_join(scratch, "root"), *state = path_join(scratch, "state");
    const char *state_path = geteuid() == 0 ? NULL : state;
    RootfsResult made = {0};
    int r;
    if (extract_source_kind(source) != EXTRACT_TAR_ROOTFS)
        return error_set(error, ERROR_USAGE, EINVAL, "this is no tar of a root file system");
    r = require_tools(options, error);
    if (r >= 0)
        r = sha256_check(NULL, options->expected_sha256, error);
    if (r < 0)
        return r;
    if (mkdir(scratch, 0700) < 0 || mkdir(folder, 0700) < 0)
        r = error_set_errno(error, errno, "cannot make scratch %s", scratch);
    if (r >= 0)
        r = unpack_into(source, folder, state_path, options, made.source_sha256, error);
    if (r >= 0)
        r = rootfs_check_root(folder, error);
    if (r >= 0)
        r = folder_to_ext4(folder, state_path, options, &made, error);
    (void)path_remove_tree(scratch);
    if (r < 0)
        return r;
    *result = made;
    return 0;
}
