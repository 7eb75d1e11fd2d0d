/* SPDX-License-Identifier: Apache-2.0 */

#include "cli/registry_verbs.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "cli/client.h"
#include "cli/export_file.h"
#include "cli/import_file.h"
#include "cli/output.h"
#include "cli/registry.h"

static Registry registry_of(const Args *args, const char *reference, const char *kind) {
    return (Registry){.reference = reference,
                      .kind = kind,
                      .plain_http = str_equal(args_text(args, "tls-verify"), "false")};
}

int registry_push_verb(const Args *args, ApiId id, const char *kind, const char *query,
                       Error *error) {
    const char *name = args->operands[0], *reference = args->operands[1];
    const Registry registry = registry_of(args, reference, kind);
    _cleanup_registry_folder_ char *folder = NULL;
    _cleanup_free_ char *file = NULL;
    _cleanup_json_ json_t *report = NULL;
    uint64_t bytes = 0;
    int r = registry_check(reference, error);
    if (r >= 0)
        r = registry_folder_new(&folder, error);
    if (r < 0)
        return r;
    file = path_join(folder, "archive");
    r = export_file(id, name, query, file, &bytes, error);
    if (r >= 0)
        r = registry_push(&registry, file, error);
    if (r < 0)
        return r;
    report = json_pack("{s:s, s:s, s:I}", kind, name, "reference", reference, "bytes",
                       (json_int_t)bytes);
    return output_json_or_line(args, report, reference, error);
}

/* One that came out of an archive says of which member (archive/archive_kernel.c). */
static bool is_of(const char *home, const char *key, const char *digest) {
    _cleanup_free_ char *path = str_format("%s/kernels/%s/kernel.json", home, key), *text = NULL;
    _cleanup_json_ json_t *json = NULL;
    size_t size;
    return fd_read_file_at(AT_FDCWD, path, MIB, &text, &size) >= 0 &&
           json_parse("kernel.json", text, size, &json, NULL) >= 0 &&
           str_equal(json_string_value(json_object_get(json, "archive_digest")), digest);
}

static bool has_kernel(const char *home, const char *key, const char *digest) {
    _cleanup_free_ char *folder = path_join(home, "kernels");
    _cleanup_free_ char *path = str_format("%s/%s/kernel.json", folder, key);
    struct dirent *entry;
    bool found = *key && !strchr(key, '/') && key[0] != '.' && access(path, R_OK) == 0;
    DIR *kernels = found ? NULL : opendir(folder);
    while (kernels && !found && (entry = readdir(kernels)))
        found = entry->d_name[0] != '.' && is_of(home, entry->d_name, digest);
    if (kernels)
        (void)closedir(kernels);
    return found;
}

/* Where the daemon's home can be looked into. What cannot be seen is fetched. */
static bool is_here(void *data, const char *member, const char *digest, const char *key) {
    const char *home = data;
    _cleanup_free_ char *path = NULL;
    if (str_equal(member, "disk") && str_has_prefix(digest, "tree1:") && !strchr(digest, '/'))
        path = str_format("%s/images/tree1-%s.raw", home, digest + 6);
    else if (str_equal(member, "kernel"))
        return has_kernel(home, key, digest);
    else if (str_has_prefix(member, "layer-") && !strchr(member, '/'))
        path = str_format("%s/layers/%s.qcow2", home, member + 6);
    return path && access(path, R_OK) == 0;
}

static bool nothing_is_here(void *data, const char *member, const char *digest, const char *key) {
    (void)data;
    (void)member;
    (void)digest;
    (void)key;
    return false;
}

static int pull(const Args *args, ApiId id, const Registry *registry, RegistryHas has,
                const char *home, json_t **answer, Error *error) {
    _cleanup_registry_folder_ char *folder = NULL;
    _cleanup_free_ char *file = NULL;
    _cleanup_json_ json_t *request = json_object();
    int r = registry_folder_new(&folder, error);
    if (r >= 0)
        r = registry_pull(registry, folder, has, (void *)(uintptr_t)home, &file, error);
    if (r < 0)
        return r;
    if (args_text(args, "name"))
        (void)json_object_set_new(request, "name", json_string(args_text(args, "name")));
    return import_file(id, file, request, answer, error);
}

/* What looked as if it were here may be another of the same name: then all is fetched. */
int registry_pull_verb(const Args *args, ApiId id, const char *kind, Error *error) {
    const Registry registry = registry_of(args, args->operands[0], kind);
    _cleanup_json_ json_t *answer = NULL, *version = NULL;
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_free_ char *made = NULL;
    const char *home;
    int r = registry_check(registry.reference, error);
    if (r >= 0)
        r = client_call(API_VERSION, NULL, NULL, NULL, &version, error);
    if (r < 0)
        return r;
    home = str_or_empty(json_string_value(json_object_get(version, "home")));
    r = pull(args, id, &registry, is_here, home, &answer, &failure);
    if (r < 0 && failure.kind == ERROR_CORRUPT)
        r = pull(args, id, &registry, nothing_is_here, home, &answer, error);
    else if (r < 0)
        return error_move(error, &failure);
    if (r < 0)
        return r;
    made = output_member(answer, json_is_string(json_object_get(answer, "name")) ? "name" : "id");
    return output_json_or_line(args, answer, made, error);
}
