/* SPDX-License-Identifier: Apache-2.0 */

/* The disk is somebody's, and its file system may be made to hurt who reads it. So debugfs(8) reads
 * it, in a process that is nobody's (setpriv), can gain nothing, writes to the one descriptor that
 * it is given, and no more than it may (prlimit). Names come from two places, a listing and
 * modules.dep, and are checked before they become a path: here nothing is named by the disk but
 * the version and the modules' own paths, below a folder of ours. */

#include "image/direct/disk_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "disk/boot_loader.h"
#include "image/boot_image.h"
#include "image/kernel_build.h"
#include "image/kernel_files.h"

#define READ_BOUND_USEC (300 * USEC_PER_SEC)
#define LISTING_MAX MIB
#define MODULE_MAX (64 * MIB)
#define DISK_FD 3
#define NOBODY "65534"

/* What is read of a file system on the disk. */
typedef struct DiskKernel {
    const ImageContext *context; /* borrowed */
    int fd;                      /* borrowed: the disk */
    uint64_t offset;             /* of the file system */
    const char *scratch;         /* borrowed: a folder of ours */
    char *version;               /* owned */
    const char *modules;         /* static: where the modules are */
} DiskKernel;

/* ---- reading ---- */

static void add_sandbox(uint64_t most_bytes, StrList *argv) {
    strlist_add(argv, "prlimit");
    strlist_add_format(argv, "--fsize=%llu", (unsigned long long)most_bytes);
    strlist_add_many(argv, "--core=0", "setpriv", "--no-new-privs", NULL);
    if (geteuid() == 0)
        strlist_add_many(argv, "--reuid=" NOBODY, "--regid=" NOBODY, "--clear-groups",
                         "--bounding-set=-all", NULL);
}

/* What debugfs says to a command, into a file of ours. It exits with 0 in any case: what is not
 * there gives nothing. */
static int read_disk(const DiskKernel *disk, const char *command, uint64_t most_bytes, int out_fd,
                     Error *error) {
    _cleanup_free_ char *debugfs = path_find_program("debugfs");
    _cleanup_(strlist_free) StrList argv = {0};
    const SpawnFd fds[] = {{.from = out_fd, .to = 1}, {.from = disk->fd, .to = DISK_FD}};
    if (!debugfs) {
        error_set(error, ERROR_UNSUPPORTED, ENOENT, "debugfs is missing");
        error_set_hint(error, "install the package e2fsprogs");
        return -ENOENT;
    }
    add_sandbox(most_bytes, &argv);
    strlist_add_many(&argv, debugfs, "-R", command, NULL);
    strlist_add_format(&argv, "/proc/self/fd/%d?offset=%llu", DISK_FD,
                       (unsigned long long)disk->offset);
    const SpawnOptions options = {.program = argv.items[0],
                                  .argv = argv.items,
                                  .fds = fds,
                                  .n_fds = ARRAY_SIZE(fds),
                                  .die_with_parent = true};
    return spawn_run(&options, READ_BOUND_USEC, disk->context->cancel_fd, NULL, error);
}

static int read_text(const DiskKernel *disk, const char *command, char **text, Error *error) {
    _cleanup_close_ int fd = memfd_create("listing", MFD_CLOEXEC);
    _cleanup_free_ char *path = str_format("/proc/self/fd/%d", fd);
    int r = fd < 0 ? error_set_errno(error, errno, "cannot read the disk")
                   : read_disk(disk, command, LISTING_MAX, fd, error);
    if (r >= 0)
        r = fd_read_file_at(AT_FDCWD, path, LISTING_MAX, text, NULL);
    return r < 0 && error && error->kind == ERROR_NONE
               ? error_set_errno(error, -r, "cannot read what the disk holds")
               : r;
}

/* A file of the disk becomes scratch/NAME. -ENOENT, without an error: it has none, or an empty one.
 */
static int take_file(const DiskKernel *disk, const char *path, const char *name,
                     uint64_t most_bytes, Error *error) {
    _cleanup_free_ char *to = path_join(disk->scratch, name), *folder = str_copy(to);
    _cleanup_free_ char *command = str_format("cat %s", path);
    *strrchr(folder, '/') = '\0';
    int r = path_make_folders(folder, 0700);
    _cleanup_close_ int fd =
        r < 0 ? r : open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set_errno(error, r < 0 ? -r : errno, "cannot write %s", to);
    r = read_disk(disk, command, most_bytes, fd, error);
    if (r < 0)
        return error_add_context(error, "cannot read %s of the disk", path);
    if (lseek(fd, 0, SEEK_END) > 0)
        return 0;
    (void)unlink(to);
    return -ENOENT;
}

/* ---- the kernel ---- */

/* The version in a line "/inode/mode/uid/gid/name/size/", the caller's; NULL: it has none. */
static char *version_in(const char *line, size_t size) {
    static const char prefix[] = "vmlinuz-";
    _cleanup_free_ char *copy = str_format("%.*s", (int)size, line);
    char *rest = copy, *name = NULL;
    for (int i = 0; rest && i < 6; i++)
        name = strsep(&rest, "/");
    if (!rest || !str_has_prefix(name, prefix))
        return NULL;
    name += strlen(prefix);
    return kernel_version_is_valid(name) ? str_copy(name) : NULL;
}

char *disk_kernel_choose(const char *listing) {
    char *best = NULL;
    for (const char *line = listing; *line;) {
        size_t size = strcspn(line, "\n");
        _cleanup_free_ char *found = version_in(line, size);
        if (found && (!best || strverscmp(found, best) > 0))
            str_replace(&best, found);
        line += size + (line[size] == '\n');
    }
    return best;
}

static bool is_ext(int fd, uint64_t offset) {
    uint8_t magic[2];
    return fd_pread_full(fd, magic, sizeof(magic), offset + 1024 + 56) == (ssize_t)sizeof(magic) &&
           magic[0] == 0x53 && magic[1] == 0xef;
}

/* In which of the disk's file systems, and which version. */
static int find_kernel(DiskKernel *disk, Error *error) {
    BootLoader loader;
    int r = boot_loader_find(disk->fd, &loader, error);
    if (r >= 0 && loader.n_partitions == 0)
        loader.offsets[loader.n_partitions++] = 0;
    for (size_t i = 0; r >= 0 && !disk->version && i < loader.n_partitions; i++) {
        _cleanup_free_ char *listing = NULL;
        disk->offset = loader.offsets[i];
        if (!is_ext(disk->fd, disk->offset))
            continue;
        r = read_text(disk, "ls -p /boot", &listing, error);
        if (r >= 0)
            disk->version = disk_kernel_choose(listing);
    }
    if (r >= 0 && !disk->version)
        return error_set(error, ERROR_UNSUPPORTED, ENOENT,
                         "no partition of the disk is an ext4 with a /boot/vmlinuz-VERSION");
    return r;
}

/* ---- its modules ---- */

static int take_of_modules(const DiskKernel *disk, const char *name, uint64_t most, Error *error) {
    _cleanup_free_ char *path = str_format("%s/%s/%s", disk->modules, disk->version, name);
    _cleanup_free_ char *to = path_join(disk->version, name);
    return take_file(disk, path, to, most, error);
}

static int find_modules(DiskKernel *disk, Error *error) {
    static const char *const places[] = {"/usr/lib/modules", "/lib/modules"};
    int r = -ENOENT;
    for (size_t i = 0; r == -ENOENT && i < ARRAY_SIZE(places); i++) {
        disk->modules = places[i];
        r = take_of_modules(disk, "modules.dep", MODULE_MAX, error);
    }
    if (r == -ENOENT)
        return error_set(error, ERROR_UNSUPPORTED, ENOENT, "its kernel %s has no modules.dep",
                         disk->version);
    if (r >= 0)
        r = take_of_modules(disk, "modules.builtin", MODULE_MAX, error);
    return r == -ENOENT ? 0 : r;
}

static int take_modules(DiskKernel *disk, Error *error) {
    _cleanup_free_ char *folder = path_join(disk->scratch, disk->version);
    _cleanup_(strlist_free) StrList load = {0};
    int r = find_modules(disk, error);
    if (r >= 0)
        r = kernel_load_order(folder, &load, error);
    for (size_t i = 0; r >= 0 && i < load.count; i++) {
        if (strpbrk(load.items[i], " \t\"'\\"))
            return error_set(error, ERROR_UNSUPPORTED, EINVAL, "a module of it is called %.80s",
                             load.items[i]);
        r = take_of_modules(disk, load.items[i], MODULE_MAX, error);
        if (r == -ENOENT)
            return error_set(error, ERROR_UNSUPPORTED, ENOENT, "its module %.200s is not there",
                             load.items[i]);
    }
    return r;
}

/* ---- all of it ---- */

static int take_all(DiskKernel *disk, KernelBundle *bundle, Error *error) {
    int r = find_kernel(disk, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = str_format("/boot/vmlinuz-%s", disk->version);
    _cleanup_free_ char *kernel = path_join(disk->scratch, "vmlinuz");
    _cleanup_free_ char *modules = path_join(disk->scratch, disk->version);
    r = take_file(disk, path, "vmlinuz", BOOT_IMAGE_MAX_BYTES, error);
    if (r == -ENOENT)
        return error_set(error, ERROR_UNSUPPORTED, ENOENT, "%s of the disk is empty", path);
    if (r >= 0)
        r = take_modules(disk, error);
    if (r < 0)
        return r;
    const KernelSource source = {.kernel = kernel, .modules = modules};
    return kernel_files_ensure(disk->context, &source, bundle, error);
}

int disk_kernel_ensure(const ImageContext *context, const char *disk_path, KernelBundle *bundle,
                       Error *error) {
    _cleanup_free_ char *tmp =
        context->tmp ? str_copy(context->tmp) : path_join(context->home, "tmp");
    _cleanup_free_ char *name = scratch_name("kernel");
    _cleanup_free_ char *scratch = path_join(tmp, name);
    _cleanup_close_ int fd = open(disk_path, O_RDONLY | O_CLOEXEC);
    DiskKernel disk = {.context = context, .fd = fd, .scratch = scratch};
    int r = fd < 0 ? error_set_errno(error, errno, "cannot open %s", disk_path) : 0;
    if (r >= 0) {
        image_context_progress(context, "taking the disk's kernel", 0, 0);
        r = take_all(&disk, bundle, error);
    }
    free(disk.version);
    (void)path_remove_tree_at(AT_FDCWD, scratch);
    if (r < 0 && error) {
        (void)error_add_context(error, "microvm cannot boot it");
        if (!error->hint)
            error_set_hint(error, "leave out --machine microvm: then its own boot loader boots it");
    }
    return r;
}
