/* SPDX-License-Identifier: Apache-2.0 */

/* Assembling a bundle in a scratch folder. Nothing here knows about locks or final names: the
 * caller publishes the folder, or throws it away as it is when a step fails. */
#include "image/kernel_build.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "disk/sparse.h"
#include "image/boot_image.h"
#include "image/modules.h"

enum { TABLE_MAX = 16 * 1024 * 1024 };

/* What the agent needs to reach its root disk and its keeper, on microvm (mmio) and on q35 (pci).
 * The order is the order of loading: what microvm needs comes first. */
static const ModuleWanted wanted_modules[] = {
    {"virtio_mmio", false}, {"virtio_blk", false}, {"virtio_console", false},
    {"ext4", false},        {"virtio_net", false}, {"virtio_pci", true},
};

static int create_file(const char *folder, const char *name, Error *error) {
    _cleanup_free_ char *path = path_join(folder, name);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    return fd < 0 ? error_set_errno(error, errno, "cannot write %s", path) : fd;
}

static int write_file(const char *folder, const char *name, const void *data, size_t size,
                      Error *error) {
    _cleanup_close_ int fd = create_file(folder, name, error);
    if (fd < 0)
        return fd;
    int r = fd_write_full(fd, data, size);
    return r < 0 ? error_set_errno(error, -r, "cannot write %s", name) : 0;
}

/* Writes vmlinux, and bzimage when there is one; *version gets what the kernel says of itself. */
static int add_kernel(const KernelParts *parts, const char *folder, bool *has_bzimage,
                      char **version, Error *error) {
    _cleanup_free_ char *data = NULL;
    size_t size;
    int r = fd_read_file_at(AT_FDCWD, parts->kernel, BOOT_IMAGE_MAX_BYTES, &data, &size);
    if (r < 0)
        return error_set_errno(error, -r, "cannot read %s", parts->kernel);
    const uint8_t *bytes = (const uint8_t *)data;
    if (!boot_image_is_bzimage(bytes, size)) {
        r = boot_image_check_elf(bytes, size, error);
        return r < 0 ? r : write_file(folder, "vmlinux", data, size, error);
    }
    BootImage image;
    r = boot_image_parse(bytes, size, &image, error);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = create_file(folder, "vmlinux", error);
    if (fd < 0)
        return fd;
    r = boot_image_extract(bytes, size, &image, fd, error);
    if (r >= 0)
        r = write_file(folder, "bzimage", data, size, error);
    if (r < 0)
        return r;
    *has_bzimage = true;
    *version = str_copy(image.version);
    return 0;
}

static void fts_close_p(FTS **fts) {
    if (*fts)
        (void)fts_close(*fts);
}

static int copy_module_file(const char *from, const char *to, Error *error) {
    _cleanup_close_ int source = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
    if (source < 0)
        return error_set_errno(error, errno, "cannot open %s", from);
    _cleanup_close_ int target = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (target < 0)
        return error_set_errno(error, errno, "cannot write %s", to);
    return file_clone_or_sparse_copy(source, target, NULL, error);
}

/* Folders and regular files only: /lib/modules/VERSION has links to sources, which no guest needs.
 */
static int copy_modules(const ImageContext *context, const char *from, const char *to,
                        Error *error) {
    char *const roots[] = {(char *)(uintptr_t)from, NULL};
    _cleanup_(fts_close_p) FTS *fts =
        fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, NULL);
    if (!fts)
        return error_set_errno(error, errno, "cannot read %s", from);
    FTSENT *entry;
    int r = 0;
    while (r >= 0 && (entry = fts_read(fts))) {
        _cleanup_free_ char *target = str_format("%s%s", to, entry->fts_path + strlen(from));
        if (entry->fts_info == FTS_D)
            r = path_make_folders(target, 0755) < 0
                    ? error_set_errno(error, errno, "cannot make %s", target)
                    : image_context_check(context, error);
        else if (entry->fts_info == FTS_F)
            r = copy_module_file(entry->fts_path, target, error);
        else if (entry->fts_info == FTS_ERR || entry->fts_info == FTS_DNR ||
                 entry->fts_info == FTS_NS)
            r = error_set_errno(error, entry->fts_errno, "cannot read %s", entry->fts_path);
    }
    return r;
}

/* Packages leave modules.dep to their installation, so it is usually made here. */
static int ensure_modules_dep(const ImageContext *context, const char *folder, const char *modules,
                              const char *version, Error *error) {
    _cleanup_free_ char *dep = path_join(modules, "modules.dep");
    if (access(dep, F_OK) == 0)
        return 0;
    _cleanup_free_ char *depmod = path_find_program("depmod");
    if (!depmod) {
        int r = error_set(error, ERROR_UNSUPPORTED, ENOENT, "depmod is missing");
        error_set_hint(error, "install the package kmod");
        return r;
    }
    char *argv[] = {depmod, (char *)"-b", (char *)(uintptr_t)folder, (char *)(uintptr_t)version,
                    NULL};
    SpawnOptions options = {.program = depmod, .argv = argv, .die_with_parent = true};
    return spawn_run(&options, 600 * USEC_PER_SEC, context->cancel_fd, NULL, error);
}

static int read_table(const char *modules, const char *name, char **text, size_t *size,
                      Error *error) {
    _cleanup_free_ char *path = path_join(modules, name);
    int r = fd_read_file_at(AT_FDCWD, path, TABLE_MAX, text, size);
    return r < 0 && r != -ENOENT ? error_set_errno(error, -r, "cannot read %s", path) : 0;
}

int kernel_load_order(const char *modules, StrList *load, Error *error) {
    _cleanup_free_ char *dep = NULL, *builtin = NULL;
    size_t dep_size = 0, builtin_size = 0;
    int r = read_table(modules, "modules.dep", &dep, &dep_size, error);
    if (r >= 0)
        r = read_table(modules, "modules.builtin", &builtin, &builtin_size, error);
    if (r < 0)
        return r;
    return modules_closure(dep, dep_size, builtin, builtin_size, wanted_modules,
                           ARRAY_SIZE(wanted_modules), load, error);
}

static int add_modules(const ImageContext *context, const KernelParts *parts, const char *folder,
                       const char *version, StrList *load, Error *error) {
    _cleanup_free_ char *modules = path_join(folder, "lib/modules", version);
    int r = path_make_folders(modules, 0755);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make %s", modules);
    image_context_progress(context, "copying kernel modules", 0, 0);
    r = copy_modules(context, parts->modules, modules, error);
    if (r >= 0)
        r = ensure_modules_dep(context, folder, modules, version, error);
    return r < 0 ? r : kernel_load_order(modules, load, error);
}

static int write_kernel_json(const KernelParts *parts, const char *folder, const char *version,
                             bool has_bzimage, const StrList *load, Error *error) {
    _cleanup_json_ json_t *list = json_array();
    for (size_t i = 0; i < load->count; i++)
        (void)json_array_append_new(list, json_string(load->items[i]));
    _cleanup_json_ json_t *json =
        json_pack("{si ss ss ss sb sb sO}", "format", KERNEL_BUNDLE_FORMAT, "key", parts->key,
                  "version", version, "source", parts->source, "bzimage", has_bzimage, "modules",
                  parts->modules != NULL, "load", list);
    if (!json)
        return error_set(error, ERROR_FAILED, EINVAL, "cannot describe the kernel");
    _cleanup_free_ char *text = json_to_text(json);
    return write_file(folder, "kernel.json", text, strlen(text), error);
}

static char *choose_version(const KernelParts *parts, const char *said) {
    const char *slash = parts->modules ? strrchr(parts->modules, '/') : NULL;
    const char *choices[] = {parts->version, said, slash ? slash + 1 : NULL};
    for (size_t i = 0; i < ARRAY_SIZE(choices); i++)
        if (choices[i] && kernel_version_is_valid(choices[i]))
            return str_copy(choices[i]);
    return str_copy("custom");
}

int kernel_parts_assemble(const ImageContext *context, const KernelParts *parts, const char *folder,
                          Error *error) {
    _cleanup_free_ char *said = NULL;
    bool has_bzimage = false;
    image_context_progress(context, "unpacking the kernel", 0, 0);
    int r = add_kernel(parts, folder, &has_bzimage, &said, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *version = choose_version(parts, said);
    _cleanup_(strlist_free) StrList load = {0};
    if (parts->modules)
        r = add_modules(context, parts, folder, version, &load, error);
    if (r < 0)
        return r;
    return write_kernel_json(parts, folder, version, has_bzimage, &load, error);
}
