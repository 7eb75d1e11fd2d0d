/* SPDX-License-Identifier: Apache-2.0 */

/* Opening bundles, and making them of files that the user names. The key of such a bundle is taken
 * over the content of all its files, so naming the same files again finds the same bundle, and a
 * changed one makes a new bundle. */
#include "image/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "disk/publish.h"
#include "image/kernel_build.h"
#include "image/unpack.h"

enum { LOAD_MAX = 256, JSON_MAX = 1024 * 1024 };

void kernel_bundle_free(KernelBundle *bundle) {
    if (!bundle)
        return;
    free(bundle->folder);
    free(bundle->vmlinux);
    free(bundle->bzimage);
    free(bundle->modules);
    free(bundle->version);
    strlist_free(&bundle->load);
    *bundle = (KernelBundle){0};
}

char *kernel_bundle_folder(const char *home, const char *key) {
    return path_join(home, "kernels", key);
}

bool kernel_version_is_valid(const char *version) {
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+~_-";
    size_t length = strlen(version);
    return length > 0 && length < 128 && version[0] != '.' && strspn(version, allowed) == length;
}

static int damaged(const char *key, Error *error) {
    int r = error_set(error, ERROR_CORRUPT, EBADMSG, "kernel bundle %s is damaged", key);
    error_set_hint(error, "remove its folder and build the image again");
    return r;
}

static int read_load_list(const json_t *json, StrList *load) {
    const json_t *list = json_object_get(json, "load");
    if (!json_is_array(list) || json_array_size(list) > LOAD_MAX)
        return -EBADMSG;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *path = json_string_value(json_array_get(list, i));
        if (!path || !unpack_path_is_safe(path))
            return -EBADMSG;
        strlist_add(load, path);
    }
    return 0;
}

static int fill_bundle(const json_t *json, KernelBundle *bundle, Error *error) {
    const char *version = NULL;
    bool has_bzimage = false, has_modules = false;
    if (json_get_string("kernel.json", json, "version", &version, error) < 0 ||
        json_opt_bool("kernel.json", json, "bzimage", &has_bzimage, error) < 0 ||
        json_opt_bool("kernel.json", json, "modules", &has_modules, error) < 0 ||
        !kernel_version_is_valid(version) || read_load_list(json, &bundle->load) < 0)
        return damaged(bundle->key, error);
    bundle->version = str_copy(version);
    bundle->vmlinux = path_join(bundle->folder, "vmlinux");
    if (has_bzimage)
        bundle->bzimage = path_join(bundle->folder, "bzimage");
    if (has_modules)
        bundle->modules = path_join(bundle->folder, "lib/modules", version);
    return access(bundle->vmlinux, R_OK) < 0 ? damaged(bundle->key, error) : 0;
}

static bool is_key(const char *key) {
    uint8_t digest[SHA256_SIZE];
    return key && hex_decode(key, digest, sizeof(digest)) == 0;
}

int kernel_bundle_open(const char *home, const char *key, KernelBundle *bundle, Error *error) {
    if (!is_key(key))
        return error_set(error, ERROR_USAGE, EINVAL, "that is no kernel bundle's key");
    _cleanup_kernel_bundle_ KernelBundle found = {0};
    memcpy(found.key, key, SHA256_HEX_SIZE);
    found.folder = kernel_bundle_folder(home, key);
    _cleanup_free_ char *path = path_join(found.folder, "kernel.json"), *text = NULL;
    size_t size;
    int r = fd_read_file_at(AT_FDCWD, path, JSON_MAX, &text, &size);
    if (r == -ENOENT)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no kernel bundle %s", key);
    if (r < 0)
        return error_set_errno(error, -r, "cannot read %s", path);
    _cleanup_json_ json_t *json = NULL;
    if (json_parse("kernel.json", text, size, &json, error) < 0)
        return damaged(key, error);
    r = fill_bundle(json, &found, error);
    if (r < 0)
        return r;
    *bundle = found;
    found = (KernelBundle){0};
    return 0;
}

static int hash_file(Sha256 *hash, const char *name, const char *path, Error *error) {
    char hex[SHA256_HEX_SIZE];
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    int r = sha256_file(fd, hex, error);
    if (r < 0)
        return r;
    sha256_update(hash, name, strlen(name) + 1);
    sha256_update(hash, hex, sizeof(hex));
    return 0;
}

static int compare_names(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void fts_close_p(FTS **fts) {
    if (*fts)
        (void)fts_close(*fts);
}

/* All regular files below, sorted, links not followed. */
static int hash_folder(Sha256 *hash, const char *folder, Error *error) {
    char *const roots[] = {(char *)(uintptr_t)folder, NULL};
    _cleanup_(fts_close_p) FTS *fts =
        fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, compare_names);
    if (!fts)
        return error_set_errno(error, errno, "cannot read %s", folder);
    FTSENT *entry;
    while ((entry = fts_read(fts))) {
        if (entry->fts_info == FTS_ERR || entry->fts_info == FTS_DNR || entry->fts_info == FTS_NS)
            return error_set_errno(error, entry->fts_errno, "cannot read %s", entry->fts_path);
        if (entry->fts_info != FTS_F)
            continue;
        int r = hash_file(hash, entry->fts_path + strlen(folder), entry->fts_path, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int key_of_files(const KernelSource *source, char key[SHA256_HEX_SIZE], Error *error) {
    _cleanup_(sha256_free_p) Sha256 *hash = sha256_new();
    _cleanup_free_ char *format = str_format("ramet kernel files %d\n", KERNEL_BUNDLE_FORMAT);
    sha256_update(hash, format, strlen(format));
    int r = hash_file(hash, "kernel", source->kernel, error);
    if (r >= 0 && source->modules)
        r = hash_folder(hash, source->modules, error);
    if (r < 0)
        return r;
    sha256_finish(hash, key);
    return 0;
}

static int ensure_of_files(const ImageContext *context, const KernelSource *source,
                           KernelBundle *bundle, Error *error) {
    char key[SHA256_HEX_SIZE];
    int r = key_of_files(source, key, error);
    if (r < 0)
        return r;
    PublishOptions options = {.home = context->home,
                              .kind = "kernels",
                              .name = key,
                              .folder = true,
                              .cancel_fd = context->cancel_fd};
    _cleanup_(publish_free_p) Publish *publish = NULL;
    bool exists = false;
    r = publish_begin(&options, &publish, &exists, error);
    if (r < 0)
        return r;
    if (!exists) {
        KernelParts parts = {.key = key,
                             .kernel = source->kernel,
                             .modules = source->modules,
                             .source = source->kernel};
        r = kernel_parts_assemble(context, &parts, publish_scratch_path(publish), error);
        if (r >= 0)
            r = publish_commit(publish, error);
        if (r < 0)
            return error_add_context(error, "cannot use the kernel %s", source->kernel);
    }
    return kernel_bundle_open(context->home, key, bundle, error);
}

int kernel_bundle_ensure(const ImageContext *context, const KernelSource *source,
                         KernelBundle *bundle, Error *error) {
    if (source && source->kernel)
        return ensure_of_files(context, source, bundle, error);
    if (source && source->modules)
        return error_set(error, ERROR_USAGE, EINVAL, "modules were named without their kernel");
    return kernel_debian_ensure(context, bundle, error);
}
