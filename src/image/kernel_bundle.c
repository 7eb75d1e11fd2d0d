/* SPDX-License-Identifier: Apache-2.0 */
#include "image/kernel_bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
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
    (void)utimensat(AT_FDCWD, found.folder, NULL, 0); /* when it was used: usage/boot_files.h */
    *bundle = found;
    found = (KernelBundle){0};
    return 0;
}
