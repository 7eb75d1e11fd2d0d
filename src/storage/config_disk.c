/* SPDX-License-Identifier: Apache-2.0 */

#include "storage/config_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/rootfs/iso_folder.h"
#include "disk/sniff.h"
#include "disk/sparse.h"
#include "home/mount.h"
#include "storage/bases.h"

#define FILE_MAX_BYTES GIB
#define FOLDER_MAX_BYTES (64 * MIB) /* libarchive collects them in a file beside */
#define SECTOR 512

Home *config_disk_hold(Home *home, const char *source) {
    if (!source)
        return NULL;
    bases_hold(home);
    return home;
}

void config_disk_release_p(Home **home) {
    if (!*home)
        return;
    bases_release(*home);
    bases_collect(*home);
}

/* ---- of a file ---- */

static int check_file(const char *path, int fd, const struct stat *info, Error *error) {
    ExtractKind kind;
    int r;
    if (info->st_size == 0 || (uint64_t)info->st_size > FILE_MAX_BYTES)
        return error_set(error, ERROR_USAGE, EFBIG, "%s is %s", path,
                         info->st_size ? "larger than 1 GiB" : "empty");
    r = sniff_image(fd, &kind, error);
    if (r < 0 || kind == EXTRACT_RAW)
        return MIN_OF(r, 0);
    error_set(error, ERROR_USAGE, EINVAL, "%s is a %s file, and a config disk is raw", path,
              extract_kind_name(kind));
    error_set_hint(error, "qemu-img convert -O raw %s FILE", path);
    return -EINVAL;
}

static bool is_same(const struct stat *a, const struct stat *b) {
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* With zeroes up to a whole sector. */
static int copy_file(const char *path, int from, const struct stat *info, int to, Error *error) {
    off_t whole = (info->st_size + SECTOR - 1) / SECTOR * SECTOR;
    struct stat now;
    int r = file_clone_or_sparse_copy(from, to, NULL, error);
    if (r < 0)
        return r;
    if (fstat(from, &now) < 0 || !is_same(info, &now))
        return error_set(error, ERROR_CONFLICT, EBUSY, "%s changed while it was read", path);
    return ftruncate(to, whole) < 0 ? error_set_errno(error, errno, "cannot write the disk") : 0;
}

/* ---- either ---- */

static int fill(void *data, const char *path, int fd, int cancel_fd, Error *error) {
    const char *source = data;
    const IsoFolder iso = {.folder = source,
                           .label = CONFIG_DISK_LABEL,
                           .output_fd = fd,
                           .most_bytes = FOLDER_MAX_BYTES,
                           .cancel_fd = cancel_fd};
    _cleanup_close_ int from = open(source, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat info;
    int r;
    if (from < 0 || fstat(from, &info) < 0)
        return error_set_errno(error, errno, "cannot read %s", source);
    if (S_ISDIR(info.st_mode))
        return iso_from_folder(&iso, error);
    if (!S_ISREG(info.st_mode))
        return error_set(error, ERROR_USAGE, EINVAL, "%s is neither a file nor a folder", source);
    r = check_file(source, from, &info, error);
    return r < 0 ? r : copy_file(source, from, &info, fd, error);
}

int config_disk_make(Home *home, Operation *operation, const char *source, VmMount *mount,
                     Error *error) {
    _cleanup_free_ char *real = source[0] == '/' ? realpath(source, NULL) : NULL;
    char base[BASE_ID_SIZE];
    int r;
    if (source[0] != '/')
        return error_set(error, ERROR_USAGE, EINVAL, "%.100s is no absolute path", source);
    if (!real)
        return error_set_errno(error, errno, "cannot read %s", source);
    operation_enter(operation, "config");
    r = base_make(home, operation, fill, real, base, error);
    if (r < 0)
        return error_add_context(error, "cannot make a config disk of %s", source);
    *mount = (VmMount){.kind = VM_MOUNT_CONFIG, .path = CONFIG_DISK_PATH, .read_only = true};
    str_set(mount->base, base);
    r = base_bytes(home, base, &mount->bytes);
    return r < 0 ? error_set_errno(error, -r, "the config disk is gone") : 0;
}

int config_disk_add(Home *home, Operation *operation, VmSpec *spec, Error *error) {
    VmMount mount;
    int r;
    if (!spec->config_disk)
        return 0;
    r = config_disk_make(home, operation, spec->config_disk, &mount, error);
    if (r >= 0)
        r = vm_mounts_add(&spec->mounts, &mount, error);
    if (r >= 0)
        str_replace(&spec->config_disk, NULL);
    return r;
}

/* ---- at a fork ---- */

static const VmMount *find(const VmMounts *mounts, size_t *index) {
    for (size_t i = 0; i < mounts->count; i++) {
        if (mounts->items[i].kind != VM_MOUNT_CONFIG)
            continue;
        *index = i;
        return &mounts->items[i];
    }
    return NULL;
}

int config_disk_replace(VmMounts *mounts, const VmMount *mount, Error *error) {
    size_t index;
    if (find(mounts, &index)) {
        mounts->items[index] = *mount;
        return 0;
    }
    error_set(error, ERROR_USAGE, EINVAL,
              "its source has no config disk, and a clone has the disks of its source");
    error_set_hint(error, "make the source with --config-disk; an empty folder will do");
    return -EINVAL;
}

void config_disk_changed(const VmMounts *frozen, const VmMounts *now, char *text, size_t room) {
    size_t index, before;
    const VmMount *mount = find(now, &index), *was = find(frozen, &before);
    char serial[VM_SERIAL_SIZE];
    *text = '\0';
    if (!mount || !was || str_equal(mount->base, was->base))
        return;
    vm_mount_serial(now, index, serial);
    (void)snprintf(text, room, "%s,ro,%s", serial, mount->path);
}
