/* SPDX-License-Identifier: Apache-2.0 */

/* skopeo moves an OCI layout (a folder) to a registry, with the credentials, certificates and
 * policy that podman has. */

#include "cli/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process/spawn_run.h"

#define BOUND_USEC (24 * 3600 * USEC_PER_SEC)
#define PREFIX "docker://"
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

char *registry_folder_blobs(const char *folder) {
    return path_join(folder, "oci/blobs/sha256");
}

int registry_folder_new(char **folder, Error *error) {
    const char *tmp = getenv("TMPDIR");
    _cleanup_free_ char *path =
        str_format("%s/ramet-XXXXXX", tmp && *tmp == '/' ? tmp : "/var/tmp");
    _cleanup_free_ char *blobs = NULL;
    if (!mkdtemp(path))
        return error_set_errno(error, errno, "cannot make %s", path);
    blobs = registry_folder_blobs(path);
    *folder = TAKE_PTR(path);
    return path_make_folders(blobs, 0700) < 0
               ? error_set_errno(error, errno, "cannot make %s", blobs)
               : 0;
}

void registry_folder_free(char **folder) {
    if (*folder)
        (void)path_remove_tree(*folder);
    free(*folder);
}

/* ---- skopeo ---- */

static int run_skopeo(const char *const *argv, SpawnOutput *output, Error *error) {
    const SpawnOptions options = {.program = "skopeo", .argv = (char *const *)argv};
    _cleanup_free_ char *program = path_find_program("skopeo");
    if (!program) {
        error_set(error, ERROR_UNSUPPORTED, ENOENT,
                  "skopeo, which speaks with registries, is missing");
        error_set_hint(error, "install the package skopeo");
        return -ENOENT;
    }
    return spawn_run(&options, BOUND_USEC, -1, output, error);
}

static int copy(const char *from, const char *to, const char *tls, bool out, Error *error) {
    _cleanup_free_ char *flag = str_format("--%s-tls-verify=%s", out ? "dest" : "src", tls);
    const char *argv[] = {"skopeo", "copy", "-q", "--preserve-digests", flag, from, to, NULL};
    return run_skopeo(argv, NULL, error);
}

static const char *tls_of(const Registry *registry) {
    return registry->plain_http ? "false" : "true";
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

int registry_push(const Registry *registry, const char *folder, const ArchiveParts *parts,
                  Error *error) {
    _cleanup_free_ char *oci = path_join(folder, "oci"), *from = str_format("oci:%s", oci);
    int r = write_layout(oci, registry->kind, parts, error);
    if (r >= 0)
        r = copy(from, registry->reference, tls_of(registry), true, error);
    return r < 0 ? error_add_context(error, "cannot push to %s", registry->reference) : 0;
}
