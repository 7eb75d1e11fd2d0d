/* SPDX-License-Identifier: Apache-2.0 */

/* mke2fs -d copies 32 bits of the times of an inode's last change, read and write; the first cannot
 * be chosen, and the second is often that of the copying itself. So all become the time of the last
 * write, and the order of extended attributes that of their names. The inodes are found by the new
 * file system's folders: to look a name up in the host's is quick, and in those of a plain ext4 it
 * is not. */

#include "disk/rootfs/seed_inodes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "disk/rootfs/seed_tidy.h"

#define INODE_BYTES 256
#define DEPTH_MAX 1024
#define MODE_BITS 07777u

typedef struct Folder {
    char *name; /* owned: in the host's */
    ext2_ino_t inode;
} Folder;

typedef struct Pass {
    ext2_filsys fs; /* borrowed */
    int folder_fd;  /* borrowed: the host's */
    Folder *below;  /* owned */
    size_t n_below;
    Error *error;
    int r;
} Pass;

static int library_error(Error *error, errcode_t code, const char *what) {
    if (code == ENOSPC)
        return error_set_errno(error, ENOSPC, "%s", what);
    return error_set(error, ERROR_FAILED, EIO, "%s: libext2fs error %ld", what, (long)code);
}

/* Documentation/filesystems/ext4/inodes.rst, "Inode Timestamps": two bits by which the seconds go
 * on after 2038, and 30 of nanoseconds. */
static void set_times(struct ext2_inode_large *inode, const struct timespec *time) {
    uint64_t above = (uint64_t)time->tv_sec - (uint64_t)(int64_t)(int32_t)time->tv_sec;
    uint32_t low = (uint32_t)time->tv_sec;
    uint32_t extra = (uint32_t)time->tv_nsec << 2 | (uint32_t)(above >> 32 & 3);
    inode->i_atime = inode->i_ctime = inode->i_mtime = inode->i_crtime = low;
    inode->i_atime_extra = inode->i_ctime_extra = inode->i_mtime_extra = inode->i_crtime_extra =
        extra;
}

static void set_owner(struct ext2_inode_large *inode, const struct stat *info) {
    inode->i_mode = (uint16_t)((inode->i_mode & ~MODE_BITS) | (info->st_mode & MODE_BITS));
    inode->i_uid = (uint16_t)info->st_uid;
    inode->osd2.linux2.l_i_uid_high = (uint16_t)(info->st_uid >> 16);
    inode->i_gid = (uint16_t)info->st_gid;
    inode->osd2.linux2.l_i_gid_high = (uint16_t)(info->st_gid >> 16);
}

static int complete(Pass *pass, ext2_ino_t number, const struct stat *info, bool owner) {
    uint8_t buffer[INODE_BYTES] __attribute__((aligned(8)));
    struct ext2_inode_large *inode = (struct ext2_inode_large *)(void *)buffer;
    errcode_t code =
        ext2fs_read_inode_full(pass->fs, number, (struct ext2_inode *)inode, INODE_BYTES);
    if (code)
        return library_error(pass->error, code, "cannot read the new file system");
    set_times(inode, &info->st_mtim);
    if (owner)
        set_owner(inode, info);
    code = ext2fs_write_inode_full(pass->fs, number, (struct ext2_inode *)inode, INODE_BYTES);
    if (code == 0)
        code = seed_sort_attributes(pass->fs, number);
    return code ? library_error(pass->error, code, "cannot write the new file system") : 0;
}

static void add_below(Pass *pass, const char *name, ext2_ino_t inode) {
    if (pass->n_below % 64 == 0) {
        Folder *more = realloc(pass->below, (pass->n_below + 64) * sizeof(*more));
        if (!more)
            abort();
        pass->below = more;
    }
    pass->below[pass->n_below++] = (Folder){str_copy(name), inode};
}

static int visit(ext2_ino_t folder, int kind, struct ext2_dir_entry *entry, int offset,
                 int block_size, char *buffer, void *data) {
    Pass *pass = data;
    char name[EXT2_NAME_LEN + 1];
    size_t length = (size_t)ext2fs_dirent_name_len(entry);
    struct stat info;
    (void)folder, (void)kind, (void)offset, (void)block_size, (void)buffer;
    memcpy(name, entry->name, length);
    name[length] = '\0';
    if (str_equal(name, ".") || str_equal(name, ".."))
        return 0;
    if (fstatat(pass->folder_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0) {
        pass->r = error_set(pass->error, ERROR_CONFLICT, EBUSY,
                            "the folder changed while it was read: %.100s is gone", name);
        return DIRENT_ABORT;
    }
    pass->r = complete(pass, entry->inode, &info, false);
    if (pass->r >= 0 && S_ISDIR(info.st_mode))
        add_below(pass, name, entry->inode);
    return pass->r < 0 ? DIRENT_ABORT : 0;
}

static int complete_folder(ext2_filsys fs, int folder_fd, ext2_ino_t inode, unsigned depth,
                           Error *error);

static int complete_below(const Pass *pass, unsigned depth, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < pass->n_below; i++) {
        const Folder *folder = &pass->below[i];
        _cleanup_close_ int fd =
            openat(pass->folder_fd, folder->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        r = fd < 0 ? error_set_errno(error, errno, "cannot read folder %.100s", folder->name)
                   : complete_folder(pass->fs, fd, folder->inode, depth + 1, error);
    }
    return r;
}

static void pass_free(Pass *pass) {
    for (size_t i = 0; i < pass->n_below; i++)
        free(pass->below[i].name);
    free(pass->below);
}

static int complete_folder(ext2_filsys fs, int folder_fd, ext2_ino_t inode, unsigned depth,
                           Error *error) {
    _cleanup_(pass_free) Pass pass = {.fs = fs, .folder_fd = folder_fd, .error = error};
    errcode_t code;
    if (depth > DEPTH_MAX)
        return error_set(error, ERROR_USAGE, ELOOP, "folders nested deeper than %d", DEPTH_MAX);
    code = ext2fs_dir_iterate2(fs, inode, 0, NULL, visit, &pass);
    if (pass.r >= 0 && code)
        pass.r = library_error(error, code, "cannot read the new file system");
    return pass.r < 0 ? pass.r : complete_below(&pass, depth, error);
}

/* One that the folder (-1: none) has stays. */
static int drop_lost_found(ext2_filsys fs, int folder_fd, Error *error) {
    errcode_t code = ext2fs_read_bitmaps(fs);
    if (code == 0 && faccessat(folder_fd, "lost+found", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        code = seed_drop_lost_found(fs);
    return code ? library_error(error, code, "cannot write the new file system") : 0;
}

static int complete_all(ext2_filsys fs, const char *folder, Error *error) {
    _cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Pass top = {.fs = fs, .error = error};
    struct stat info;
    int r;
    if (fd < 0 || fstat(fd, &info) < 0)
        return error_set_errno(error, errno, "cannot read folder %s", folder);
    r = drop_lost_found(fs, fd, error);
    if (r >= 0)
        r = complete(&top, EXT2_ROOT_INO, &info, true);
    return r < 0 ? r : complete_folder(fs, fd, EXT2_ROOT_INO, 0, error);
}

static int open_image(const char *image, ext2_filsys *fs, Error *error) {
    errcode_t code = ext2fs_open(image, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, unix_io_manager, fs);
    return code ? library_error(error, code, "cannot open the new file system") : 0;
}

static int close_image(ext2_filsys *fs, int r, Error *error) {
    errcode_t code = ext2fs_close_free(fs);
    return r >= 0 && code ? library_error(error, code, "cannot write the new file system") : r;
}

int seed_complete_inodes(const char *folder, const char *image, uint64_t epoch_sec, Error *error) {
    ext2_filsys fs;
    int r = open_image(image, &fs, error);
    if (r < 0)
        return r;
    fs->now = (time_t)epoch_sec;
    r = EXT2_INODE_SIZE(fs->super) == INODE_BYTES
            ? complete_all(fs, folder, error)
            : error_set(error, ERROR_FAILED, EIO, "mke2fs made inodes of another size");
    return close_image(&fs, r, error);
}

int seed_complete_empty(const char *image, Error *error) {
    ext2_filsys fs;
    int r = open_image(image, &fs, error);
    return r < 0 ? r : close_image(&fs, drop_lost_found(fs, -1, error), error);
}
