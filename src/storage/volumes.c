/* SPDX-License-Identifier: Apache-2.0 */

/* Who runs a VM has its volume's file open and locked: the daemon takes the lock before QEMU is
 * started, on the open file description that QEMU then has (F_OFD_SETLK of fcntl(2)). So it is held
 * exactly as long as that QEMU lives, whatever becomes of the daemon, and it is the file's, so that
 * another home with a hard link of it sees it, too. QEMU itself locks other bytes of it (100 and
 * on). */

#include "storage/volumes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "disk/convert.h"
#include "disk/rootfs/seed.h"
#include "disk/sniff.h"
#include "disk/sparse.h"
#include "frozen/disks.h"
#include "home/admission.h"
#include "home/inside.h"
#include "storage/bases.h"
#include "store/disks/disk_uses.h"
#include "store/disks/seeds.h"
#include "store/disks/volumes.h"

#define USERS_MAX 256
#define LOCK_BYTE 1
#define SIZE_LEAST (2 * MIB)
#define EMPTY_LEAST (8 * MIB) /* of ext4 with a journal */
#define SIZE_MOST (1024 * 1024 * GIB)
#define EXPORT_TIMEOUT_USEC (3600 * USEC_PER_SEC)

/* ---- locks ---- */

/* "web1 and 2 more", without the VM that asks; "" when this home has nobody. The caller owns it. */
static char *active_users(Home *home, const char *id, const char *vm) {
    DiskUser users[USERS_MAX];
    size_t count = 0, active = 0;
    const char *first = "";
    (void)disk_uses_list_of_volume(home->store, id, users, USERS_MAX, &count, NULL);
    for (size_t i = 0; i < count; i++) {
        VmState state;
        if ((vm && str_equal(users[i].id, vm)) || vm_state_from_name(users[i].state, &state) < 0 ||
            (!vm_state_is_active(state) && state != STATE_STANDBY))
            continue;
        if (active++ == 0)
            first = users[i].name;
    }
    return active > 1 ? str_format("%s and %zu more", first, active - 1) : str_copy(first);
}

static int refuse(Home *home, const char *id, const char *name, const char *vm, bool writes,
                  Error *error) {
    _cleanup_free_ char *users = active_users(home, id, vm);
    error_set(error, ERROR_CONFLICT, EBUSY, "volume %s is in use by %s", name,
              *users ? users : "an export of it, or another home's VM");
    error_set_hint(error, writes ? "one VM writes to a volume, or several read it (:ro)"
                                 : "a VM writes to it; stop that first");
    return -EBUSY;
}

/* A VM in standby has no process that could hold a lock, and goes on with what its memory has. */
static bool standby_has_it(Home *home, const char *id, const char *vm, bool writes) {
    DiskUser users[USERS_MAX];
    size_t count = 0;
    (void)disk_uses_list_of_volume(home->store, id, users, USERS_MAX, &count, NULL);
    for (size_t i = 0; vm && i < count; i++)
        if (str_equal(users[i].state, vm_state_name(STATE_STANDBY)) &&
            !str_equal(users[i].id, vm) && (writes || !users[i].read_only))
            return true;
    return false;
}

int volume_open_locked(Home *home, const char *id, const char *name, const char *vm, bool writes,
                       int *fd, Error *error) {
    _cleanup_free_ char *path = volume_path(home, id);
    _cleanup_close_ int opened =
        open(path, (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
    struct flock lock = {.l_type = writes ? F_WRLCK : F_RDLCK,
                         .l_whence = SEEK_SET,
                         .l_start = LOCK_BYTE,
                         .l_len = 1};
    if (opened < 0)
        return error_set_errno(error, errno, "cannot open volume %s", name);
    if (standby_has_it(home, id, vm, writes))
        return refuse(home, id, name, vm, writes, error);
    if (fcntl(opened, F_OFD_SETLK, &lock) < 0)
        return errno == EAGAIN || errno == EACCES
                   ? refuse(home, id, name, vm, writes, error)
                   : error_set_errno(error, errno, "cannot lock volume %s", name);
    *fd = TAKE_FD(opened);
    return 0;
}

/* ---- as JSON ---- */

static json_t *describe_users(Home *home, const char *id) {
    DiskUser users[USERS_MAX];
    json_t *list = json_array();
    size_t count = 0;
    (void)disk_uses_list_of_volume(home->store, id, users, USERS_MAX, &count, NULL);
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:s, s:b}", "name", users[i].name, "state",
                                              users[i].state, "read_only", users[i].read_only));
    return list;
}

static json_t *describe(Home *home, const VolumeRow *row) {
    _cleanup_free_ char *created = clock_format_realtime(row->created_at_usec);
    _cleanup_free_ char *path = volume_path(home, row->id);
    struct stat info = {0};
    json_t *volume;
    if (stat(path, &info) < 0)
        info.st_size = info.st_blocks = 0;
    volume = json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:o}", "id", row->id, "name", row->name,
                       "path", path, "virtual_bytes", (json_int_t)info.st_size, "allocated_bytes",
                       (json_int_t)info.st_blocks * 512, "created_at", created, "users",
                       describe_users(home, row->id));
    (void)json_object_update_missing(volume, row->detail);
    if (!json_object_get(volume, "source"))
        (void)json_object_set_new(volume, "source", json_null());
    return volume;
}

int volume_list(Home *home, json_t **list, Error *error) {
    VolumeRow *rows;
    size_t count;
    int r = volumes_list(home->store, &rows, &count, error);
    if (r < 0)
        return r;
    *list = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(*list, describe(home, &rows[i]));
    volume_rows_free(rows, count);
    return 0;
}

int volume_inspect(Home *home, const char *reference, json_t **volume, Error *error) {
    _cleanup_volume_row_ VolumeRow row = {0};
    int r = volumes_find(home->store, reference, &row, error);
    if (r >= 0)
        *volume = describe(home, &row);
    return r;
}

/* ---- making ---- */

static int check_size(uint64_t bytes, uint64_t least, Error *error) {
    _cleanup_free_ char *size = format_size(bytes), *need = format_size(least);
    if (bytes >= least && bytes <= SIZE_MOST)
        return 0;
    return error_set(error, ERROR_USAGE, EINVAL, "a volume of %s cannot be: it needs %s", size,
                     bytes < least ? need : "less than 1 PiB");
}

static int fill_from_seed(Home *home, const VolumeOptions *options, int fd, Error *error) {
    _cleanup_seed_row_ SeedRow seed = {0};
    _cleanup_free_ char *path = NULL;
    _cleanup_close_ int source = -1;
    int r = seeds_find(home->store, options->seed, &seed, error);
    if (r < 0)
        return r;
    path = seed_base_path(home->path, seed.digest);
    source = open(path, O_RDONLY | O_CLOEXEC);
    return source < 0 ? error_set_errno(error, errno, "cannot open %s", path)
                      : file_clone_or_sparse_copy(source, fd, NULL, error);
}

/* Nobody may write to it meanwhile: a QEMU that does has locked it, and so has ours. */
static int lock_source(const VolumeOptions *options, Error *error) {
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = LOCK_BYTE, .l_len = 1};
    if (fcntl(options->fd, F_OFD_SETLK, &lock) < 0)
        return error_set(error, ERROR_CONFLICT, EBUSY, "a VM writes to %s", options->source);
    return 0;
}

static int fill_from_file(const VolumeOptions *options, int fd, int cancel_fd, Error *error) {
    ExtractKind kind;
    int r = lock_source(options, error);
    if (r >= 0)
        r = sniff_image(options->fd, &kind, error);
    if (r < 0)
        return r;
    if (kind != EXTRACT_RAW)
        return convert_image(kind, options->fd, fd, SIZE_MOST, cancel_fd, error);
    return file_clone_or_sparse_copy(options->fd, fd, NULL, error);
}

static int grow(int fd, uint64_t bytes, Error *error) {
    struct stat info;
    uint64_t wanted;
    int r;
    if (fstat(fd, &info) < 0)
        return error_set_errno(error, errno, "cannot look at the volume");
    wanted = (MAX_OF(bytes, bytes ? 0 : (uint64_t)info.st_size) + 4095) / 4096 * 4096;
    r = check_size(wanted, MAX_OF((uint64_t)info.st_size, SIZE_LEAST), error);
    if (r < 0 || ftruncate(fd, (off_t)wanted) == 0)
        return r;
    r = error_set_errno(error, errno, "a file of %llu MiB is more than this file system takes",
                        (unsigned long long)(wanted / MIB));
    error_set_hint(error, "try a smaller --size");
    return r;
}

static int fill(Home *home, Operation *operation, const VolumeOptions *options, const char *path,
                int fd, Error *error) {
    uint64_t bytes = (options->size_bytes + 4095) / 4096 * 4096;
    int r;
    if (options->seed)
        r = fill_from_seed(home, options, fd, error);
    else if (options->fd >= 0)
        r = fill_from_file(options, fd, operation->cancel_fd, error);
    else
        r = check_size(bytes, EMPTY_LEAST, error);
    if (r >= 0)
        r = grow(fd, options->size_bytes, error);
    if (r >= 0 && !options->seed && options->fd < 0)
        r = seed_make_empty(path, bytes, "volume", operation->cancel_fd, error);
    if (r >= 0 && fsync(fd) < 0)
        r = error_set_errno(error, errno, "cannot make the volume durable");
    return r;
}

/* In scratch, which a crash leaves to the next start to empty; then its name, then its row. A file
 * without a row goes at the next start, too. */
static int make_file(Home *home, Operation *operation, const VolumeOptions *options,
                     const VolumeRow *row, Error *error) {
    _cleanup_free_ char *name = scratch_name("volume"),
                        *scratch = path_join(home->path, "tmp", name);
    _cleanup_free_ char *path = volume_path(home, row->id);
    _cleanup_close_ int fd = open(scratch, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int r = fd < 0 ? error_set_errno(error, errno, "cannot make scratch %s", scratch)
                   : fill(home, operation, options, scratch, fd, error);
    if (r >= 0 && rename(scratch, path) < 0)
        r = error_set_errno(error, errno, "cannot name the volume");
    if (r < 0)
        (void)unlink(scratch);
    return r;
}

static int make(Home *home, Operation *operation, const VolumeOptions *options, VolumeRow *row,
                Error *error) {
    _cleanup_free_ char *path = volume_path(home, row->id);
    int r = make_file(home, operation, options, row, error);
    if (r < 0)
        return r;
    r = volumes_insert(home->store, row, error);
    if (r < 0)
        (void)unlink(path);
    else
        home_event(home, "volume.created", NULL, row->name, row->detail);
    return r;
}

int volume_create(Home *home, Operation *operation, const VolumeOptions *options, json_t **volume,
                  Error *error) {
    _cleanup_volume_row_ VolumeRow row = {.created_at_usec = clock_realtime_usec()}, there = {0};
    _cleanup_free_ char *id = random_hex(16);
    int r = name_check("volume", str_or_empty(options->name), error);
    if (r >= 0)
        r = admission_check_disk(home, error);
    if (r < 0)
        return r;
    str_set(row.id, id);
    str_set(row.name, options->name);
    if (options->seed || options->source)
        row.detail = json_pack("{s:s}", "source", options->seed ? options->seed : options->source);
    if (volumes_find(home->store, row.name, &there, NULL) >= 0 && str_equal(there.name, row.name))
        return volumes_insert(home->store, &row, error); /* says that it is taken */
    operation_enter(operation, "volume");
    bases_hold(home);
    r = make(home, operation, options, &row, error);
    bases_release(home);
    stages_end(&operation->stages);
    if (r < 0)
        return error_add_context(error, "cannot make volume %s", row.name);
    *volume = describe(home, &row);
    return 0;
}

/* ---- the end ---- */

int volume_remove(Home *home, const char *reference, Error *error) {
    _cleanup_volume_row_ VolumeRow row = {0};
    _cleanup_free_ char *path = NULL;
    int r = volumes_find(home->store, reference, &row, error);
    if (r >= 0)
        r = volumes_delete(home->store, &row, error);
    if (r < 0)
        return r;
    path = volume_path(home, row.id);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "cannot remove %s", path);
    home_event(home, "volume.removed", NULL, row.name, NULL);
    return 0;
}

void volumes_collect(Home *home) {
    int fd = openat(home->home_fd, "volumes", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        (void)fd_close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        _cleanup_free_ char *id =
            str_format("%.*s", (int)strcspn(entry->d_name, "."), entry->d_name);
        uint64_t count = 1;
        if (*id && volumes_count(home->store, id, &count, NULL) >= 0 && count == 0)
            (void)unlinkat(fd, entry->d_name, 0);
    }
    (void)closedir(folder);
}

/* ---- out ----
 *
 * The copy has no name until it is whole, so that nothing is left of one that failed. */

static int export_qcow2(int fd, int target, int cancel_fd, Error *error) {
    _cleanup_free_ char *source =
        str_format("json:{\"driver\":\"raw\",\"file\":{\"driver\":\"file\","
                   "\"filename\":\"/dev/fd/3\",\"locking\":\"off\"}}");
    const char *argv[] = {"qemu-img", "convert", "-O", "qcow2", source, "/dev/fd/4", NULL};
    const SpawnFd fds[] = {{.from = fd, .to = 3}, {.from = target, .to = 4}};
    const SpawnOptions options = {
        .program = "qemu-img", .argv = (char *const *)argv, .fds = fds, .n_fds = ARRAY_SIZE(fds)};
    return spawn_run(&options, EXPORT_TIMEOUT_USEC, cancel_fd, NULL, error);
}

static int open_target(const char *path, Error *error) {
    _cleanup_free_ char *folder = str_copy(path);
    char *slash = strrchr(folder, '/');
    int fd;
    if (path[0] != '/')
        return error_set(error, ERROR_USAGE, EINVAL, "%.100s is no absolute path", path);
    if (access(path, F_OK) == 0)
        return error_set(error, ERROR_CONFLICT, EEXIST, "%s is there already", path);
    slash[slash == folder] = '\0';
    fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd < 0 ? error_set_errno(error, errno, "cannot make a file in %s", folder) : fd;
}

static int name_target(int target, const char *path, Error *error) {
    char self[32];
    (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", target);
    if (fsync(target) < 0)
        return error_set_errno(error, errno, "cannot make %s durable", path);
    return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0
               ? error_set_errno(error, errno, "cannot name %s", path)
               : 0;
}

int volume_export(Home *home, Operation *operation, const char *reference, const char *path,
                  const char *format, Error *error) {
    _cleanup_volume_row_ VolumeRow row = {0};
    _cleanup_close_ int fd = -1, target = -1;
    int r = volumes_find(home->store, reference, &row, error);
    if (r >= 0)
        r = volume_open_locked(home, row.id, row.name, NULL, false, &fd, error);
    if (r < 0)
        return r;
    target = open_target(path, error);
    if (target < 0)
        return target;
    operation_enter(operation, "export");
    r = str_equal(format, "qcow2") ? export_qcow2(fd, target, operation->cancel_fd, error)
                                   : file_clone_or_sparse_copy(fd, target, NULL, error);
    if (r >= 0)
        r = name_target(target, path, error);
    stages_end(&operation->stages);
    return r < 0 ? error_add_context(error, "cannot export volume %s", row.name) : 0;
}
