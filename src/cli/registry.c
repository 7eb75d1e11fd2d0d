/* SPDX-License-Identifier: Apache-2.0 */

/* skopeo moves an OCI layout (a folder) to a registry and back, with the credentials, certificates
 * and policy that podman has. It does not fetch a blob whose file is in the folder already: so for
 * what is here an empty file of that size stands in the folder. First all parts but the manifest's
 * are such; that says which are wanted, and those are fetched. skopeo compares each blob that it
 * fetches with its digest; what an archive holds is checked when it is imported. */

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
#include "cli/archive_parts.h"

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

int registry_folder_new(char **folder, Error *error) {
    const char *tmp = getenv("TMPDIR");
    _cleanup_free_ char *path =
        str_format("%s/ramet-XXXXXX", tmp && *tmp == '/' ? tmp : "/var/tmp");
    _cleanup_free_ char *blobs = NULL;
    if (!mkdtemp(path))
        return error_set_errno(error, errno, "cannot make %s", path);
    blobs = path_join(path, "oci/blobs/sha256");
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

int registry_push(const Registry *registry, const char *archive, Error *error) {
    _cleanup_registry_folder_ char *folder = NULL;
    _cleanup_free_ char *oci = NULL, *blobs = NULL, *from = NULL;
    ArchiveParts parts;
    int r = registry_folder_new(&folder, error);
    if (r < 0)
        return r;
    oci = path_join(folder, "oci");
    blobs = path_join(oci, "blobs/sha256");
    from = str_format("oci:%s", oci);
    r = archive_parts_split(archive, blobs, &parts, error);
    if (r >= 0)
        r = write_layout(oci, registry->kind, &parts, error);
    if (r >= 0)
        r = copy(from, registry->reference, tls_of(registry), true, error);
    return r < 0 ? error_add_context(error, "cannot push to %s", registry->reference) : 0;
}

/* ---- pulling ---- */

typedef struct Pull {
    const Registry *registry; /* borrowed */
    char *oci;                /* owned */
    json_t *manifest;         /* owned: the registry's */
    size_t count;
    char *files[ARCHIVE_PARTS_MAX]; /* owned: the blobs' */
} Pull;

static void pull_free(Pull *pull) {
    for (size_t i = 0; i < pull->count; i++)
        free(pull->files[i]);
    json_decref(pull->manifest);
    free(pull->oci);
}

static int no_artifact(const Pull *pull, Error *error) {
    return error_set(error, ERROR_USAGE, EINVAL, "%s is no %s that ramet pushed",
                     pull->registry->reference, pull->registry->kind);
}

static const json_t *layer_of(const Pull *pull, size_t i) {
    return json_array_get(json_object_get(pull->manifest, "layers"), i);
}

static int read_layer(Pull *pull, const json_t *layer, Error *error) {
    const char *digest = json_string_value(json_object_get(layer, "digest"));
    const char *type = json_string_value(json_object_get(layer, "mediaType"));
    uint8_t bytes[SHA256_SIZE];
    if (!digest || !str_has_prefix(digest, "sha256:") ||
        hex_decode(digest + 7, bytes, sizeof(bytes)) < 0 || !str_equal(type, PART_TYPE) ||
        json_integer_value(json_object_get(layer, "size")) <= 0)
        return no_artifact(pull, error);
    pull->files[pull->count++] = path_join(pull->oci, "blobs/sha256", digest + 7);
    return 0;
}

static int inspect(Pull *pull, Error *error) {
    _cleanup_free_ char *tls = str_format("--tls-verify=%s", tls_of(pull->registry));
    _cleanup_free_ char *artifact =
        str_format("application/vnd.ramet.%s.v1+json", pull->registry->kind);
    const char *argv[] = {"skopeo", "inspect", "--raw", tls, pull->registry->reference, NULL};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    const json_t *layers, *layer;
    size_t i;
    int r = run_skopeo(argv, &output, error);
    if (r < 0)
        return r;
    if (json_parse("manifest", output.out, output.out_size, &pull->manifest, NULL) < 0 ||
        !str_equal(json_string_value(
                       json_object_get(json_object_get(pull->manifest, "config"), "mediaType")),
                   artifact))
        return no_artifact(pull, error);
    layers = json_object_get(pull->manifest, "layers");
    if (json_array_size(layers) < 2 || json_array_size(layers) > ARCHIVE_PARTS_MAX)
        return no_artifact(pull, error);
    json_array_foreach(layers, i, layer) {
        r = read_layer(pull, layer, error);
        if (r < 0)
            return r;
    }
    return 0;
}

/* An empty file in the place of a blob that is not to be fetched. */
static int leave_out(const Pull *pull, size_t i, Error *error) {
    _cleanup_close_ int fd = open(pull->files[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    json_int_t size = json_integer_value(json_object_get(layer_of(pull, i), "size"));
    return fd < 0 || ftruncate(fd, (off_t)size) < 0
               ? error_set_errno(error, errno, "cannot write %s", pull->files[i])
               : 0;
}

static int fetch(const Pull *pull, Error *error) {
    _cleanup_free_ char *to = str_format("oci:%s", pull->oci);
    return copy(pull->registry->reference, to, tls_of(pull->registry), false, error);
}

/* What its manifest says of the member that a part holds. */
static bool is_here(const Pull *pull, size_t i, const json_t *manifest, RegistryHas has,
                    void *data) {
    const char *title = json_string_value(
        json_object_get(json_object_get(layer_of(pull, i), "annotations"), TITLE));
    const char *key =
        json_string_value(json_object_get(json_object_get(manifest, "kernel"), "key"));
    const json_t *members = json_object_get(manifest, "members"), *member;
    size_t at;
    if (!title || !str_has_prefix(title, "member-"))
        return false;
    json_array_foreach(members, at, member) {
        const char *name = json_string_value(json_object_get(member, "name"));
        if (str_equal(name, title + strlen("member-")))
            return has(data, name,
                       str_or_empty(json_string_value(json_object_get(member, "digest"))),
                       str_or_empty(key));
    }
    return false;
}

/* The first part tells what the others are, so it comes alone. */
static int fetch_wanted(Pull *pull, RegistryHas has, void *data, Error *error) {
    _cleanup_json_ json_t *manifest = NULL;
    int r = 0;
    for (size_t i = 1; r >= 0 && i < pull->count; i++)
        r = leave_out(pull, i, error);
    if (r >= 0)
        r = fetch(pull, error);
    if (r >= 0)
        r = archive_parts_manifest(pull->files[0], &manifest, error);
    if (r < 0)
        return r;
    for (size_t i = 1; i < pull->count; i++) {
        bool here = is_here(pull, i, manifest, has, data);
        if (!here)
            (void)unlink(pull->files[i]);
    }
    r = fetch(pull, error);
    for (size_t i = 1; r >= 0 && i < pull->count; i++)
        if (is_here(pull, i, manifest, has, data)) {
            free(pull->files[i]);
            pull->files[i] = NULL;
        }
    return r;
}

int registry_pull(const Registry *registry, const char *folder, RegistryHas has, void *data,
                  char **archive, Error *error) {
    _cleanup_(pull_free) Pull pull = {.registry = registry, .oci = path_join(folder, "oci")};
    _cleanup_free_ char *file = path_join(folder, "archive");
    int r = inspect(&pull, error);
    if (r >= 0)
        r = fetch_wanted(&pull, has, data, error);
    if (r >= 0)
        r = archive_parts_join(pull.files, pull.count, file, error);
    if (r < 0)
        return error_add_context(error, "cannot pull %s", registry->reference);
    *archive = TAKE_PTR(file);
    return 0;
}
