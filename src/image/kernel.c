/* SPDX-License-Identifier: Apache-2.0 */

/* Debian's cloud kernel. Its meta package names the current kernel's package, whose digest apt
 * knows before the download; the bundle's key is made of that digest, so nothing is downloaded
 * twice. What the answer was is kept in HOME/kernels/debian.json together with the stamp of apt's
 * lists: while they stay as they are, apt is not asked again. That file is only a shortcut, and
 * losing it costs a second.
 *
 * When apt cannot deliver (no lists, no network), a cloud kernel that is installed on the host
 * serves. */

#include "image/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "disk/publish.h"
#include "image/apt.h"
#include "image/kernel_build.h"
#include "image/kernel_files.h"
#include "image/unpack.h"

#define META_PACKAGE "linux-image-cloud-amd64"
#define PACKAGE_MAX_BYTES (2 * GIB)

static void key_of_package(const AptPackage *package, char key[SHA256_HEX_SIZE]) {
    _cleanup_free_ char *text =
        str_format("ramet kernel deb %d\n%s\n", KERNEL_BUNDLE_FORMAT, package->sha256);
    sha256_data(text, strlen(text), key);
}

/* any_lists: also when apt's lists changed since then. */
static int open_remembered(const ImageContext *context, bool any_lists, KernelBundle *bundle) {
    _cleanup_free_ char *path = path_join(context->home, "kernels/debian.json"), *text = NULL;
    size_t size;
    int r = fd_read_file_at(AT_FDCWD, path, 64 * KIB, &text, &size);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *json = NULL;
    const char *key = NULL;
    uint64_t stamp = 0;
    if (json_parse("debian.json", text, size, &json, NULL) < 0 ||
        json_get_string("debian.json", json, "key", &key, NULL) < 0 ||
        json_get_u64("debian.json", json, "lists", &stamp, NULL) < 0 ||
        (!any_lists && stamp != apt_lists_stamp()))
        return -ESTALE;
    return kernel_bundle_open(context->home, key, bundle, NULL);
}

/* Failing to remember costs time only. */
static void remember(const ImageContext *context, const char *key, uint64_t stamp) {
    _cleanup_json_ json_t *json = json_pack("{ss sI}", "key", key, "lists", (json_int_t)stamp);
    _cleanup_free_ char *folder = path_join(context->home, "kernels");
    _cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!json || fd < 0)
        return;
    _cleanup_free_ char *text = json_to_text(json);
    (void)path_write_atomic_at(fd, "debian.json", text, strlen(text), 0644);
}

/* "linux-image-6.1.0-42-cloud-amd64 (= 6.1.159-1), …": the first alternative that is a kernel. */
static char *package_of_depends(const char *depends) {
    const char *found = strstr(depends, "linux-image-");
    if (!found)
        return NULL;
    return strndup(found, strcspn(found, " ,|("));
}

static int find_package(const ImageContext *context, AptPackage *package, Error *error) {
    _cleanup_(apt_package_free) AptPackage meta = {0};
    int r = apt_show(context, META_PACKAGE, &meta, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *name = package_of_depends(meta.depends);
    if (!name)
        return error_set(error, ERROR_FAILED, EINVAL, META_PACKAGE " names no kernel's package");
    return apt_show(context, name, package, error);
}

static char *glob_one(const char *folder, const char *pattern) {
    _cleanup_free_ char *full = path_join(folder, pattern);
    glob_t matches = {0};
    char *found = NULL;
    if (glob(full, 0, NULL, &matches) == 0 && matches.gl_pathc > 0)
        found = str_copy(matches.gl_pathv[matches.gl_pathc - 1]);
    globfree(&matches);
    return found;
}

static int assemble_package(const ImageContext *context, const AptPackage *package, const char *deb,
                            const char *scratch, const char *key, const char *folder,
                            Error *error) {
    static const char *const prefixes[] = {"boot/vmlinuz-", "lib/modules/", "usr/lib/modules/",
                                           NULL};
    image_context_progress(context, "unpacking the kernel's package", 0, 0);
    int r = unpack_deb(context, deb, prefixes, scratch, PACKAGE_MAX_BYTES, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *kernel = glob_one(scratch, "boot/vmlinuz-*");
    _cleanup_free_ char *modules = glob_one(scratch, "lib/modules/*");
    if (!modules)
        modules = glob_one(scratch, "usr/lib/modules/*");
    if (!kernel || !modules)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "%s holds no kernel, or no modules",
                         package->name);
    _cleanup_free_ char *source = str_format("%s %s", package->name, package->version);
    KernelParts parts = {.key = key,
                         .kernel = kernel,
                         .modules = modules,
                         .source = source,
                         .version = strrchr(modules, '/') + 1};
    return kernel_parts_assemble(context, &parts, folder, error);
}

static int fetch_and_assemble(const ImageContext *context, const AptPackage *package,
                              const char *key, Publish *publish, Error *error) {
    const char *scratch = publish_extra_scratch(publish);
    _cleanup_free_ char *content = path_join(scratch, "content"), *deb = NULL;
    int r = path_make_folders(content, 0700);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make %s", content);
    r = apt_download(context, package, scratch, &deb, error);
    return r < 0 ? r
                 : assemble_package(context, package, deb, content, key,
                                    publish_scratch_path(publish), error);
}

static int ensure_package(const ImageContext *context, const AptPackage *package,
                          KernelBundle *bundle, Error *error) {
    char key[SHA256_HEX_SIZE];
    uint64_t stamp = apt_lists_stamp();
    key_of_package(package, key);
    PublishOptions options = image_publish_options(context, "kernels", key);
    options.folder = true;
    _cleanup_(publish_free_p) Publish *publish = NULL;
    bool exists = false;
    int r = publish_begin(&options, &publish, &exists, error);
    if (r >= 0 && !exists) {
        r = fetch_and_assemble(context, package, key, publish, error);
        if (r >= 0)
            r = publish_commit(publish, error);
    }
    if (r >= 0)
        r = kernel_bundle_open(context->home, key, bundle, error);
    if (r >= 0)
        remember(context, key, stamp);
    return r;
}

/* A cloud kernel that is installed here, as /boot and /lib/modules have it. -ENOENT: none. */
static int ensure_installed(const ImageContext *context, KernelBundle *bundle, Error *error) {
    _cleanup_free_ char *kernel = glob_one("/boot", "vmlinuz-*-cloud-amd64");
    if (!kernel || access(kernel, R_OK) < 0)
        return -ENOENT;
    _cleanup_free_ char *modules = path_join("/lib/modules", kernel + strlen("/boot/vmlinuz-"));
    if (access(modules, R_OK) < 0)
        return -ENOENT;
    KernelSource source = {.kernel = kernel, .modules = modules};
    return kernel_files_ensure(context, &source, bundle, error);
}

static int ensure_debian(const ImageContext *context, KernelBundle *bundle, Error *error) {
    if (open_remembered(context, false, bundle) >= 0)
        return 0;
    uint64_t stamp = apt_lists_stamp();
    _cleanup_(apt_package_free) AptPackage package = {0};
    _cleanup_error_ Error apt_error = ERROR_INIT;
    int r = find_package(context, &package, &apt_error);
    if (r >= 0)
        r = ensure_package(context, &package, bundle, &apt_error);
    if (r >= 0)
        return 0;
    if (r != -ECANCELED && r != -ENOSPC) {
        if (open_remembered(context, true, bundle) >= 0) {
            remember(context, bundle->key, stamp);
            return 0;
        }
        r = ensure_installed(context, bundle, error);
        if (r != -ENOENT)
            return r;
    }
    r = error_move(error, &apt_error);
    return error ? error_add_context(error, "cannot get Debian's cloud kernel") : r;
}

int kernel_bundle_ensure(const ImageContext *context, const KernelSource *source,
                         KernelBundle *bundle, Error *error) {
    if (source && source->kernel)
        return kernel_files_ensure(context, source, bundle, error);
    if (source && source->modules)
        return error_set(error, ERROR_USAGE, EINVAL, "modules were named without their kernel");
    return ensure_debian(context, bundle, error);
}
