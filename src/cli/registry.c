/* SPDX-License-Identifier: Apache-2.0 */

/* skopeo moves an OCI layout (a folder) to a registry, with the credentials, certificates and
 * policy that podman has. */

#include "cli/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "proto/skopeo_error.h"

#define BOUND_USEC (24 * 3600 * USEC_PER_SEC)
#define PREFIX "docker://"
#define FOLDER_PREFIX "ramet-push-"
#define PART_TYPE "application/vnd.ramet.archive.part.v1"
#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define TITLE "org.opencontainers.image.title"

int registry_check(const char *reference, Error *error) {
    const char *rest = reference + strlen(PREFIX);
    if (str_has_prefix(reference, PREFIX) && *rest && *rest != '-' && strlen(rest) < 512 &&
        strspn(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/@[]") ==
            strlen(rest))
        return 0;
    return error_set(error, ERROR_USAGE, EINVAL, "\"%.100s\" is no docker://HOST/NAME[:TAG]",
                     reference);
}

char *registry_folder_blobs(const RegistryFolder *folder) {
    return path_join(folder->path, "oci/blobs/sha256");
}

/* Whose push was killed leaves its folder, which nobody has locked then. */
static void sweep_one(const char *tmp, const char *name) {
    _cleanup_free_ char *path = path_join(tmp, name);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat info;
    if (fd >= 0 && fstat(fd, &info) == 0 && info.st_uid == geteuid() &&
        flock(fd, LOCK_EX | LOCK_NB) == 0)
        (void)path_remove_tree(path);
}

static void sweep(const char *tmp) {
    DIR *folder = opendir(tmp);
    struct dirent *entry;
    while (folder && (entry = readdir(folder)))
        if (str_has_prefix(entry->d_name, FOLDER_PREFIX))
            sweep_one(tmp, entry->d_name);
    if (folder)
        (void)closedir(folder);
}

/* It has the name by which it may be swept only once it is locked. */
static int name_folder(RegistryFolder *folder, const char *tmp, const char *made, Error *error) {
    const char *random = made + strlen(made) - 6;
    folder->lock_fd = open(made, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    folder->path = str_format("%s/" FOLDER_PREFIX "%s", tmp, random);
    if (folder->lock_fd >= 0 && flock(folder->lock_fd, LOCK_EX | LOCK_NB) == 0 &&
        rename(made, folder->path) == 0)
        return 0;
    error_set_errno(error, errno, "cannot make %s", folder->path);
    (void)rmdir(made);
    return -EIO;
}

int registry_folder_new(RegistryFolder *folder, Error *error) {
    const char *variable = getenv("TMPDIR");
    const char *tmp = variable && *variable == '/' ? variable : "/var/tmp";
    _cleanup_free_ char *made = str_format("%s/ramet-new-XXXXXX", tmp), *blobs = NULL;
    int r;
    sweep(tmp);
    if (!mkdtemp(made))
        return error_set_errno(error, errno, "cannot make %s", made);
    r = name_folder(folder, tmp, made, error);
    if (r < 0)
        return r;
    blobs = registry_folder_blobs(folder);
    r = path_make_folders(blobs, 0700);
    return r < 0 ? error_set_errno(error, -r, "cannot make %s", blobs) : 0;
}

void registry_folder_free(RegistryFolder *folder) {
    if (folder->path)
        (void)path_remove_tree(folder->path);
    free(folder->path);
    (void)fd_close(folder->lock_fd);
}

/* ---- skopeo ---- */

static int run_skopeo(char *const *argv, Error *error) {
    const SpawnOptions options = {.program = "skopeo", .argv = argv, .die_with_parent = true};
    _cleanup_free_ char *program = path_find_program("skopeo");
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    _cleanup_error_ Error found = ERROR_INIT;
    int r;
    if (!program) {
        error_set(error, ERROR_UNSUPPORTED, ENOENT,
                  "skopeo, which speaks with registries, is missing");
        error_set_hint(error, "install the package skopeo");
        return -ENOENT;
    }
    r = spawn_run(&options, BOUND_USEC, -1, &output, &found);
    return r < 0 ? skopeo_explain(&output, &found, error) : 0;
}

static int copy(const Registry *registry, const char *from, Error *error) {
    _cleanup_(strlist_free) StrList argv = {0};
    strlist_add_many(&argv, "skopeo", "copy", "-q", "--preserve-digests", NULL);
    if (registry->insecure)
        strlist_add(&argv, "--dest-tls-verify=false");
    if (registry->authfile)
        strlist_add_many(&argv, "--dest-authfile", registry->authfile, NULL);
    strlist_add_many(&argv, from, registry->reference, NULL);
    return run_skopeo(argv.items, error);
}

static int write_json(const char *folder, const char *name, const json_t *json, Error *error) {
    _cleanup_free_ char *path = path_join(folder, name), *text = json_to_text(json);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : fd_write_full(fd, text, strlen(text));
    return r < 0 ? error_set_errno(error, -r, "cannot write %s", path) : 0;
}

/* ---- pushing ---- */

static json_t *describe_layers(const ArchiveParts *parts) {
    json_t *list = json_array();
    for (size_t i = 0; i < parts->count; i++) {
        _cleanup_free_ char *digest = str_format("sha256:%s", parts->items[i].sha256);
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:{s:s}}", "mediaType",
                                                    PART_TYPE, "digest", digest, "size",
                                                    (json_int_t)parts->items[i].bytes,
                                                    "annotations", TITLE, parts->items[i].name));
    }
    return list;
}

/* A blob of JSON; its descriptor, the caller's. */
static json_t *add_blob(const char *blobs, const char *type, const json_t *json, Error *error) {
    _cleanup_free_ char *text = json_to_text(json), *digest = NULL;
    char hex[SHA256_HEX_SIZE];
    sha256_data(text, strlen(text), hex);
    digest = str_format("sha256:%s", hex);
    if (write_json(blobs, hex, json, error) < 0)
        return NULL;
    return json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size",
                     (json_int_t)strlen(text));
}

static int write_layout(const char *oci, const char *kind, const ArchiveParts *parts,
                        Error *error) {
    _cleanup_free_ char *blobs = path_join(oci, "blobs/sha256");
    _cleanup_free_ char *artifact = str_format("application/vnd.ramet.%s.v1+json", kind);
    _cleanup_json_ json_t *empty = json_pack("{s:s}", "kind", kind), *manifest = NULL,
                          *index = NULL;
    _cleanup_json_ json_t *version = json_pack("{s:s}", "imageLayoutVersion", "1.0.0");
    json_t *config = add_blob(blobs, artifact, empty, error), *entry;
    int r;
    if (!config)
        return -EIO;
    manifest = json_pack("{s:i, s:s, s:o, s:o}", "schemaVersion", 2, "mediaType", MANIFEST_TYPE,
                         "config", config, "layers", describe_layers(parts));
    entry = add_blob(blobs, MANIFEST_TYPE, manifest, error);
    if (!entry)
        return -EIO;
    index = json_pack("{s:i, s:[o]}", "schemaVersion", 2, "manifests", entry);
    r = write_json(oci, "index.json", index, error);
    return r < 0 ? r : write_json(oci, "oci-layout", version, error);
}

int registry_push(const Registry *registry, const RegistryFolder *folder, const ArchiveParts *parts,
                  Error *error) {
    _cleanup_free_ char *oci = path_join(folder->path, "oci"), *from = str_format("oci:%s", oci);
    int r = write_layout(oci, registry->kind, parts, error);
    if (r >= 0)
        r = copy(registry, from, error);
    return r < 0 ? error_add_context(error, "cannot push to %s", registry->reference) : 0;
}
