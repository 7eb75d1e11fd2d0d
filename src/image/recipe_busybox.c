/* SPDX-License-Identifier: Apache-2.0 */

/* The smallest image that is of use: Debian's busybox-static, its applets as hard links (one inode
 * instead of four hundred), and the few files in /etc that programs look for. There is no init in
 * it, so the agent stays PID 1; hence no applet of that name either. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "disk/sparse.h"
#include "image/apt.h"
#include "image/boot_image.h"
#include "image/recipe_row.h"
#include "image/unpack.h"

#define BUSYBOX_MAX_BYTES (64 * MIB)

typedef struct TextFile {
    const char *path;
    const char *text;
} TextFile;

static const TextFile text_files[] = {
    {"etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"
                   "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
                   "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"},
    {"etc/group", "root:x:0:\ndaemon:x:1:\ntty:x:5:\ndisk:x:6:\nnogroup:x:65534:\n"},
    {"etc/shadow", "root:*:19723:0:99999:7:::\n"},
    {"etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n"},
    {"etc/hostname", "busybox\n"},
    {"etc/machine-id", ""},
    {"etc/resolv.conf", ""},
    {"etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
    {"etc/shells", "/bin/sh\n/bin/ash\n"},
    {"etc/profile", "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
                    "export PS1='\\u@\\h:\\w\\$ '\n"},
    {"etc/fstab", "/dev/vda / ext4 discard,errors=remount-ro 0 0\n"},
    {"etc/os-release", "ID=busybox\nNAME=\"BusyBox\"\nPRETTY_NAME=\"BusyBox\"\n"},
};

static const char *const folders[] = {
    "bin",     "dev",
    "etc",     "home",
    "lib",     "mnt",
    "opt",     "proc",
    "root",    "run",
    "sbin",    "srv",
    "sys",     "tmp",
    "usr/bin", "usr/sbin",
    "usr/lib", "usr/local/bin",
    "var/lib", "var/log",
    "var/tmp", "etc/ramet/clone.d",
};

/* Applets that would stand in the agent's way. */
static const char *const left_out[] = {"init", "linuxrc", "run-init"};

/* A dynamically linked busybox (the package of that name) would not run in this image. */
static bool is_static_program(const char *path) {
    _cleanup_free_ char *data = NULL;
    size_t size;
    if (fd_read_file_at(AT_FDCWD, path, BUSYBOX_MAX_BYTES, &data, &size) < 0 ||
        boot_image_check_elf((const uint8_t *)data, size, NULL) < 0)
        return false;
    Elf64_Ehdr header;
    memcpy(&header, data, sizeof(header));
    for (size_t i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, data + header.e_phoff + i * sizeof(segment), sizeof(segment));
        if (segment.p_type == PT_INTERP)
            return false;
    }
    return true;
}

/* From the package, when the host has none installed. */
static int download_busybox(const ImageContext *context, const char *scratch, char **path,
                            Error *error) {
    static const char *const prefixes[] = {"bin/busybox", "usr/bin/busybox", NULL};
    _cleanup_(apt_package_free) AptPackage package = {0};
    _cleanup_free_ char *deb = NULL, *content = path_join(scratch, "content");
    int r = path_make_folders(content, 0700);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make %s", content);
    r = apt_show(context, "busybox-static", &package, error);
    if (r >= 0)
        r = apt_download(context, &package, scratch, &deb, error);
    if (r >= 0)
        r = unpack_deb(context, deb, prefixes, content, BUSYBOX_MAX_BYTES, error);
    if (r < 0)
        return r;
    for (size_t i = 0; prefixes[i]; i++) {
        _cleanup_free_ char *found = path_join(content, prefixes[i]);
        if (!is_static_program(found))
            continue;
        *path = TAKE_PTR(found);
        return 0;
    }
    return error_set(error, ERROR_CORRUPT, EBADMSG,
                     "the package busybox-static holds no static busybox");
}

static int find_busybox(const ImageContext *context, const char *scratch, char **path,
                        Error *error) {
    static const char *const installed[] = {"/bin/busybox", "/usr/bin/busybox"};
    for (size_t i = 0; i < ARRAY_SIZE(installed); i++)
        if (is_static_program(installed[i])) {
            *path = str_copy(installed[i]);
            return 0;
        }
    return download_busybox(context, scratch, path, error);
}

static int make_folders(const char *root, Error *error) {
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        _cleanup_free_ char *path = path_join(root, folders[i]);
        int r = path_make_folders(path, 0755);
        if (r < 0)
            return error_set_errno(error, -r, "cannot make %s", path);
    }
    return 0;
}

static int write_text(int root_fd, const TextFile *file, Error *error) {
    mode_t mode = str_equal(file->path, "etc/shadow") ? 0600 : 0644;
    _cleanup_close_ int fd =
        openat(root_fd, file->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot write %s", file->path);
    int r = fd_write_full(fd, file->text, strlen(file->text));
    if (r >= 0 && fchmod(fd, mode) < 0)
        r = -errno;
    return r < 0 ? error_set_errno(error, -r, "cannot write %s", file->path) : 0;
}

static int write_texts(int root_fd, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(text_files); i++)
        r = write_text(root_fd, &text_files[i], error);
    return r;
}

static int copy_busybox(const char *source_path, int root_fd, Error *error) {
    _cleanup_close_ int source = open(source_path, O_RDONLY | O_CLOEXEC);
    if (source < 0)
        return error_set_errno(error, errno, "cannot open %s", source_path);
    _cleanup_close_ int target =
        openat(root_fd, "bin/busybox", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (target < 0)
        return error_set_errno(error, errno, "cannot write bin/busybox");
    int r = file_clone_or_sparse_copy(source, target, NULL, error);
    if (r < 0)
        return r;
    return fchmod(target, 0755) < 0 ? error_set_errno(error, errno, "cannot write bin/busybox") : 0;
}

static bool is_left_out(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    for (size_t i = 0; i < ARRAY_SIZE(left_out); i++)
        if (str_equal(name, left_out[i]))
            return true;
    return !unpack_path_is_safe(path);
}

static int link_applets(const ImageContext *context, const char *root, int root_fd, Error *error) {
    _cleanup_free_ char *program = path_join(root, "bin/busybox");
    char *argv[] = {program, (char *)"--list-full", NULL};
    SpawnOptions options = {.program = program, .argv = argv, .die_with_parent = true};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    int r = spawn_run(&options, 60 * USEC_PER_SEC, context->cancel_fd, &output, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *list = strndup(output.out ? output.out : "", output.out_size);
    char *rest = list, *path;
    while ((path = strsep(&rest, "\n"))) {
        if (*path == '\0' || is_left_out(path))
            continue;
        if (linkat(root_fd, "bin/busybox", root_fd, path, 0) < 0 && errno != EEXIST)
            return error_set_errno(error, errno, "cannot link %s", path);
    }
    return 0;
}

static void fts_close_p(FTS **fts) {
    if (*fts)
        (void)fts_close(*fts);
}

/* A folder's mode; a file keeps the one that it was given. */
static mode_t normal_mode(const char *path, const FTSENT *entry) {
    if (str_equal(path, "/tmp") || str_equal(path, "/var/tmp"))
        return 01777;
    if (entry->fts_info != FTS_DP)
        return entry->fts_statp->st_mode & 07777;
    return str_equal(path, "/root") ? 0700 : 0755;
}

/* Every mode and time as it always is: the umask and the clock must not get into the image. */
static int normalize_attributes(const char *root, Error *error) {
    const struct timespec times[2] = {{.tv_sec = RECIPE_EPOCH}, {.tv_sec = RECIPE_EPOCH}};
    char *const roots[] = {(char *)(uintptr_t)root, NULL};
    _cleanup_(fts_close_p) FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    FTSENT *entry;
    while (fts && (entry = fts_read(fts))) {
        if (entry->fts_info == FTS_D)
            continue;
        const char *path = entry->fts_path;
        mode_t mode = normal_mode(path + strlen(root), entry);
        if (chmod(path, mode) < 0 || utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) < 0)
            return error_set_errno(error, errno, "cannot set the mode of %s", path);
    }
    return fts ? 0 : error_set_errno(error, errno, "cannot read %s", root);
}

static int make_busybox(const ImageContext *context, const RecipeRequest *request,
                        RecipeOutput *output, Error *error) {
    _cleanup_free_ char *busybox = NULL;
    /* The path for a tar is not needed: the package is unpacked there. */
    int r = find_busybox(context, output->tar, &busybox, error);
    if (r >= 0)
        r = make_folders(output->folder, error);
    if (r < 0)
        return r;
    _cleanup_close_ int root_fd = open(output->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return error_set_errno(error, errno, "cannot open %s", output->folder);
    r = write_texts(root_fd, error);
    if (r >= 0)
        r = copy_busybox(busybox, root_fd, error);
    if (r >= 0)
        r = link_applets(context, output->folder, root_fd, error);
    return r < 0 ? r : normalize_attributes(output->folder, error);
}

const Recipe recipe_busybox = {
    .name = "busybox",
    .reproducible = true,
    .size_bytes = 256 * MIB,
    .default_memory_bytes = 256 * MIB,
    .init = IMAGE_INIT_AGENT,
    .make = make_busybox,
};
