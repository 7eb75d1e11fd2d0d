/* SPDX-License-Identifier: Apache-2.0 */

#include "home/mount.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

#define SIZE_MAX_BYTES (1024 * 1024 * GIB)

/* ---- paths ---- */

static bool lies_in(const char *path, const char *folder) {
    size_t size = strlen(folder);
    return strncmp(path, folder, size) == 0 && (path[size] == '\0' || path[size] == '/');
}

static bool has_bad_part(const char *path) {
    while (*path == '/') {
        size_t size = strcspn(++path, "/");
        if (size == 0 || (size == 1 && path[0] == '.') ||
            (size == 2 && path[0] == '.' && path[1] == '.'))
            return true;
        path += size;
    }
    return false;
}

static const char *find_fault(const char *path) {
    static const char *const taken[] = {"/proc", "/sys", "/dev", "/run"};
    if (path[0] != '/')
        return "is not absolute";
    if (path[1] == '\0')
        return "is that of the root disk";
    if (strlen(path) >= VM_MOUNT_PATH_SIZE)
        return "is too long";
    if (has_bad_part(path))
        return "has an empty part, \".\" or \"..\" in it";
    for (const char *c = path; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return "has control characters in it";
    for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
        if (lies_in(path, taken[i]))
            return "lies in /proc, /sys, /dev or /run, which the guest mounts itself";
    return NULL;
}

int vm_mount_path_check(const char *path, Error *error) {
    const char *fault = find_fault(path);
    _cleanup_free_ char *clean = fault ? str_sanitize(path, strnlen(path, 150)) : NULL;
    if (!fault)
        return 0;
    error_set(error, ERROR_USAGE, EINVAL, "the path \"%s\" of a disk %s", clean, fault);
    error_set_hint(error, "it is where the guest has the disk, such as /root or /srv/data");
    return -EINVAL;
}

/* Slashes at the end are not part of it. */
static int set_path(const char *text, size_t size, char room[VM_MOUNT_PATH_SIZE], Error *error) {
    while (size > 1 && text[size - 1] == '/')
        size--;
    _cleanup_free_ char *path = str_format("%.*s", (int)size, text);
    int r = vm_mount_path_check(path, error);
    if (r >= 0)
        (void)snprintf(room, VM_MOUNT_PATH_SIZE, "%s", path);
    return r;
}

/* ---- texts ---- */

static int refuse_text(const char *what, const char *form, const char *text, Error *error) {
    _cleanup_free_ char *clean = str_sanitize(text, strnlen(text, 100));
    error_set(error, ERROR_USAGE, EINVAL, "\"%s\" is no %s", clean, what);
    error_set_hint(error, "it is %s", form);
    return -EINVAL;
}

/* What stands before ":/", and what after; NULL: there is no such. */
static const char *find_path(const char *text) {
    const char *colon = strstr(text, ":/");
    return colon && colon != text ? colon + 1 : NULL;
}

static int parse_seed(const char *text, VmMount *mount, Error *error) {
    static const char form[] = "NAME:PATH[:SIZE], such as home:/root or home:/root:8G";
    const char *path = find_path(text), *last = path ? strrchr(path, ':') : NULL;
    int r;
    *mount = (VmMount){.kind = VM_MOUNT_SEED};
    if (!path || (size_t)(path - text) > sizeof(mount->name))
        return refuse_text("seed with its place", form, text, error);
    (void)snprintf(mount->name, sizeof(mount->name), "%.*s", (int)(path - 1 - text), text);
    if (last && (parse_size(last + 1, &mount->bytes) < 0 || mount->bytes == 0 ||
                 mount->bytes > SIZE_MAX_BYTES))
        return refuse_text("seed with its place: its size", form, text, error);
    mount->bytes = (mount->bytes + 4095) / 4096 * 4096;
    r = strchr(mount->name, ':') ? 0 : name_check("seed", mount->name, error);
    return r < 0 ? r
                 : set_path(path, last ? (size_t)(last - path) : strlen(path), mount->path, error);
}

static int parse_volume(const char *text, VmMount *mount, Error *error) {
    static const char form[] = "NAME:PATH[:ro], such as data:/srv/data";
    const char *path = find_path(text), *last = path ? strrchr(path, ':') : NULL;
    int r;
    *mount = (VmMount){.kind = VM_MOUNT_VOLUME};
    if (!path || (size_t)(path - text) > sizeof(mount->name))
        return refuse_text("volume with its place", form, text, error);
    (void)snprintf(mount->name, sizeof(mount->name), "%.*s", (int)(path - 1 - text), text);
    if (last && !str_equal(last, ":ro") && !str_equal(last, ":rw"))
        return refuse_text("volume with its place", form, text, error);
    mount->read_only = last && str_equal(last, ":ro");
    r = name_check("volume", mount->name, error);
    return r < 0 ? r
                 : set_path(path, last ? (size_t)(last - path) : strlen(path), mount->path, error);
}

int vm_mounts_too_many(const char *what, Error *error) {
    error_set(error, ERROR_USAGE, E2BIG,
              "%s is one disk too many: a VM has at most %d beside its root (seeds, volumes, a "
              "config disk)",
              what, VM_MOUNTS_MAX);
    error_set_hint(error, "put several folders into one seed, or leave one out");
    return -E2BIG;
}

int vm_mounts_add(VmMounts *mounts, const VmMount *mount, Error *error) {
    const VmMount *there = vm_mounts_find(mounts, mount->path, NULL);
    if (there)
        return error_set(error, ERROR_USAGE, EINVAL, "two disks would be at %s: %s and %s",
                         mount->path, *there->name ? there->name : "another",
                         *mount->name ? mount->name : "another");
    for (size_t i = 0; i < mounts->count; i++)
        if (mount->kind == VM_MOUNT_VOLUME && mounts->items[i].kind == VM_MOUNT_VOLUME &&
            str_equal(mounts->items[i].name, mount->name))
            return error_set(error, ERROR_USAGE, EINVAL, "the VM would have volume %s twice",
                             mount->name);
    if (mounts->count == VM_MOUNTS_MAX)
        return vm_mounts_too_many(mount->path, error);
    mounts->items[mounts->count++] = *mount;
    return 0;
}

static int parse_list(const char *what, const json_t *list,
                      int (*parse)(const char *text, VmMount *mount, Error *error),
                      VmMounts *mounts, Error *error) {
    int r = 0;
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list))
        return error_set(error, ERROR_USAGE, EINVAL, "%s is no list", what);
    for (size_t i = 0; r >= 0 && i < json_array_size(list); i++) {
        VmMount mount;
        r = parse(str_or_empty(json_string_value(json_array_get(list, i))), &mount, error);
        if (r >= 0)
            r = vm_mounts_add(mounts, &mount, error);
    }
    return r;
}

int vm_mounts_parse(const json_t *seeds, const json_t *volumes, VmMounts *mounts, Error *error) {
    int r = parse_list("seeds", seeds, parse_seed, mounts, error);
    return r < 0 ? r : parse_list("volumes", volumes, parse_volume, mounts, error);
}

int vm_mount_split(const char *text, char **dir, char path[VM_MOUNT_PATH_SIZE], Error *error) {
    const char *colon = NULL;
    for (const char *at = text; (at = strstr(at, ":/")); at++)
        colon = at;
    if (!colon || colon == text)
        return refuse_text("folder with its place", "DIR:PATH, such as ./home:/root", text, error);
    int r = set_path(colon + 1, strlen(colon + 1), path, error);
    if (r < 0)
        return r;
    *dir = str_format("%.*s", (int)(colon - text), text);
    return 0;
}
