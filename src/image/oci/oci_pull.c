/* SPDX-License-Identifier: Apache-2.0 */

/*     manifest of the reference ▶ of our platform ▶ checked against its digest
 *        │
 *     record of this manifest? ──yes──▶ its base is the answer
 *        │ no
 *     lock named after it ▶ fetch what the cache lacks ▶ configuration ▶ layers to ext4
 *        │
 *     write the record ▶ publish the base ▶ unlock
 *
 * The digests make a chain: the reference or the registry names the manifest's, that those of its
 * configuration and layers, the configuration what the layers decode to. Each is checked here. */

#include "image/oci/oci_pull.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/layers/layers.h"
#include "image/image_parts.h"
#include "image/import_record.h"
#include "image/oci/oci_file.h"
#include "image/oci/oci_manifest.h"
#include "image/oci/oci_policy.h"
#include "image/oci/oci_skopeo.h"

#define DEFAULT_MEMORY_BYTES (512 * MIB)
#define INDEX_DEPTH_MAX 4
#define RECORD_VERSION 2

typedef struct Pull {
    const ImageContext *context;     /* borrowed */
    const ImagePullRequest *request; /* borrowed */
    OciReference reference;          /* owned */
    OciPlatform platform;
    OciRegistry registry;
    OciBlobs blobs;               /* owned: the cache, or the folder's */
    char *scratch;                /* owned: the folder that was made of a file; NULL: none */
    char digest[SHA256_HEX_SIZE]; /* of the manifest */
    OciManifest manifest;         /* owned */
    OciConfig config;             /* owned */
    char key[SHA256_HEX_SIZE];    /* of the record */
    ImageRecord record;
    bool reused;
} Pull;

static void pull_free(Pull *pull) {
    oci_reference_free(&pull->reference);
    oci_blobs_free(&pull->blobs);
    oci_manifest_free(&pull->manifest);
    oci_config_free(&pull->config);
    if (pull->scratch)
        (void)path_remove_tree(pull->scratch);
    free(pull->scratch);
}

static bool is_folder(const Pull *pull) {
    return pull->reference.folder != NULL;
}

/* ---- manifests ---- */

/* A document by its digest: from where it lies, or from the registry into the cache. */
static int get_document(Pull *pull, const char *digest, bool config, char **text, size_t *size,
                        Error *error) {
    _cleanup_free_ char *which = NULL, *got = NULL;
    size_t got_size;
    int r;
    if (is_folder(pull) || oci_blobs_have(&pull->blobs, digest))
        return oci_blobs_read(&pull->blobs, digest, text, size, error);
    which = str_format("@sha256:%s", config ? pull->digest : digest);
    r = oci_skopeo_inspect(&pull->registry, which, config, &got, &got_size, error);
    if (r >= 0)
        r = oci_blobs_keep(&pull->blobs, digest, got, got_size, error);
    if (r < 0)
        return r;
    *text = TAKE_PTR(got);
    *size = got_size;
    return 0;
}

static int read_manifest(Pull *pull, const char *digest, OciManifest *manifest, Error *error) {
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = get_document(pull, digest, false, &text, &size, error);
    if (r >= 0)
        r = oci_manifest_parse(text, size, manifest, error);
    return r < 0 ? error_add_context(error, "manifest sha256:%.12s", digest) : 0;
}

/* Which manifest a folder's index.json means. */
static int find_in_folder(Pull *pull, const char *folder, const char *tag, Error *error) {
    _cleanup_free_ char *path = path_join(folder, "index.json");
    _cleanup_(oci_manifest_free) OciManifest index = {0};
    _cleanup_close_ int fd = -1;
    _cleanup_free_ char *text = NULL;
    const OciDescriptor *entry;
    size_t size;
    int r = oci_blobs_open_path(&pull->blobs, path, &fd, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *opened = str_format("/proc/self/fd/%d", fd);
    r = fd_read_file_at(AT_FDCWD, opened, OCI_DOCUMENT_MAX, &text, &size);
    if (r < 0)
        return error_set_errno(error, -r, "cannot read %s", path);
    r = oci_manifest_parse(text, size, &index, error);
    if (r >= 0 && !index.is_index)
        r = error_set(error, ERROR_CORRUPT, EBADMSG, "it is no index");
    if (r >= 0)
        r = oci_index_find_tag(&index, tag, &entry, error);
    if (r < 0)
        return pull->scratch ? r : error_add_context(error, "%s", path);
    memcpy(pull->digest, entry->digest, sizeof(pull->digest));
    return 0;
}

/* What a tag means is known to the registry alone. */
static int find_by_tag(Pull *pull, Error *error) {
    _cleanup_free_ char *which =
        str_format(":%s", pull->reference.tag ? pull->reference.tag : "latest");
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = oci_skopeo_inspect(&pull->registry, which, false, &text, &size, error);
    if (r < 0)
        return r;
    sha256_data(text, size, pull->digest);
    return oci_blobs_keep(&pull->blobs, pull->digest, text, size, error);
}

static int find_manifest(Pull *pull, Error *error) {
    if (pull->reference.docker)
        return find_in_folder(pull, pull->scratch, NULL, error);
    if (is_folder(pull))
        return find_in_folder(pull, pull->reference.folder, pull->reference.tag, error);
    if (!*pull->reference.digest)
        return find_by_tag(pull, error);
    memcpy(pull->digest, pull->reference.digest, sizeof(pull->digest));
    return 0;
}

/* Through indexes to the image's own. */
static int resolve(Pull *pull, Error *error) {
    int r = find_manifest(pull, error);
    for (int depth = 0; r >= 0; depth++) {
        const OciDescriptor *entry;
        r = read_manifest(pull, pull->digest, &pull->manifest, error);
        if (r < 0 || !pull->manifest.is_index)
            return r;
        if (depth == INDEX_DEPTH_MAX)
            return error_set(error, ERROR_CORRUPT, ELOOP, "indexes nested deeper than %d",
                             INDEX_DEPTH_MAX);
        r = oci_index_choose(&pull->manifest, &pull->platform, &entry, error);
        if (r >= 0)
            memcpy(pull->digest, entry->digest, sizeof(pull->digest));
        oci_manifest_free(&pull->manifest);
    }
    return r;
}

/* skopeo judges by the policy when it copies, and here it may find all in the cache. What a folder
 * or a file of the client's holds is for the client to judge. */
static int check_policy(Pull *pull, Error *error) {
    _cleanup_free_ char *which = str_format("@sha256:%s", pull->digest);
    if (is_folder(pull) || oci_policy_accepts_all())
        return 0;
    image_context_progress(pull->context, "asking the policy", 0, 0);
    return oci_skopeo_fetch(&pull->registry, which, pull->blobs.folder, error);
}

/* ---- configuration ---- */

static int check_platform(const Pull *pull, Error *error) {
    const OciPlatform *is = &pull->config.platform, *wanted = &pull->platform;
    if (str_equal(is->os, wanted->os) && str_equal(is->architecture, wanted->architecture))
        return 0;
    _cleanup_free_ char *text = oci_platform_text(is), *clean = str_sanitize(text, strlen(text));
    _cleanup_free_ char *asked = oci_platform_text(wanted);
    error_set(error, ERROR_NOT_FOUND, ENOENT, "it is for %s, not for %s", clean, asked);
    error_set_hint(error, "--platform %s takes it all the same", clean);
    return -ENOENT;
}

static int read_config(Pull *pull, Error *error) {
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = get_document(pull, pull->manifest.config.digest, true, &text, &size, error);
    if (r >= 0)
        r = oci_config_parse(text, size, &pull->config, error);
    if (r >= 0 && pull->config.n_decoded != pull->manifest.n_items)
        r = error_set(error, ERROR_CORRUPT, EBADMSG,
                      "the manifest has %zu layers, and the configuration %zu",
                      pull->manifest.n_items, pull->config.n_decoded);
    return r < 0 ? r : check_platform(pull, error);
}

/* ---- layers ---- */

static uint64_t bytes_to_fetch(const Pull *pull, size_t *count) {
    uint64_t bytes = 0;
    *count = 0;
    for (size_t i = 0; i < pull->manifest.n_items; i++)
        if (!oci_blobs_have(&pull->blobs, pull->manifest.items[i].digest)) {
            bytes += pull->manifest.items[i].size;
            (*count)++;
        }
    return bytes;
}

static int fetch_layers(Pull *pull, Error *error) {
    _cleanup_free_ char *which = str_format("@sha256:%s", pull->digest), *size = NULL, *step = NULL;
    size_t count = 0;
    uint64_t bytes = is_folder(pull) ? 0 : bytes_to_fetch(pull, &count);
    if (count == 0)
        return 0;
    size = format_size(bytes);
    step = str_format("fetching %zu of %zu layers (%s)", count, pull->manifest.n_items, size);
    image_context_progress(pull->context, step, 0, 0);
    return oci_skopeo_fetch(&pull->registry, which, pull->blobs.folder, error);
}

typedef struct OpenLayers {
    Layer *items; /* owned */
    size_t n_items;
} OpenLayers;

static void layers_close(OpenLayers *layers) {
    for (size_t i = 0; i < layers->n_items; i++)
        (void)fd_close(layers->items[i].fd);
    free(layers->items);
}

static int open_layers(const Pull *pull, OpenLayers *layers, Error *error) {
    layers->items = calloc(pull->manifest.n_items + 1, sizeof(Layer));
    if (!layers->items)
        abort();
    for (size_t i = 0; i < pull->manifest.n_items; i++) {
        Layer *layer = &layers->items[i];
        int r = oci_blobs_open(&pull->blobs, pull->manifest.items[i].digest, &layer->fd, error);
        if (r < 0)
            return error_add_context(error, "layer %zu", i + 1);
        layers->n_items++;
        str_set(layer->stored, pull->manifest.items[i].digest);
        str_set(layer->decoded, pull->config.decoded[i]);
    }
    return 0;
}

/* The same image has the same id of its file system everywhere. */
static char *make_uuid(const Pull *pull) {
    const char *d = pull->digest;
    return str_format("%.8s-%.4s-4%.3s-8%.3s-%.12s", d, d + 8, d + 12, d + 15, d + 18);
}

/* What a program may count on, whether or not a layer has it. */
static StrList find_folders(const OciConfig *config) {
    const char *directory = json_string_value(json_object_get(config->settings, "directory"));
    StrList folders = {0};
    strlist_add_many(&folders, "dev", "etc", "proc", "run", "sys", "tmp", NULL);
    if (directory)
        strlist_add(&folders, directory);
    for (size_t i = 0; i < config->volumes.count; i++)
        strlist_add(&folders, config->volumes.items[i]);
    return folders;
}

static int apply_layers(Pull *pull, Publish *publish, Error *error) {
    _cleanup_(strlist_free) StrList folders = find_folders(&pull->config);
    _cleanup_free_ char *scratch = image_scratch_folder(pull->context), *uuid = make_uuid(pull);
    _cleanup_(layers_close) OpenLayers layers = {0};
    ImageStep step = {pull->context, "applying layers"};
    LayersResult result;
    int r = open_layers(pull, &layers, error);
    if (r < 0)
        return r;
    LayersOptions options = {.layers = layers.items,
                             .n_layers = layers.n_items,
                             .output_path = publish_scratch_path(publish),
                             .scratch_folder = scratch,
                             .size_bytes = pull->request->size_bytes,
                             .folders = (const char *const *)folders.items,
                             .uuid = uuid,
                             .progress = image_step_progress,
                             .progress_data = &step,
                             .cancel_fd = pull->context->cancel_fd};
    r = layers_to_ext4(&options, &result, error);
    if (r < 0 && result.wrong_layer < layers.n_items && !is_folder(pull))
        oci_blobs_drop(&pull->blobs, layers.items[result.wrong_layer].stored);
    return r;
}

/* ---- the base ---- */

static bool find_record(Pull *pull) {
    return image_record_read(pull->context->home, pull->key, &pull->record) >= 0;
}

static int check_again(void *data, bool *exists, Error *error) {
    Pull *pull = data;
    (void)error;
    *exists = pull->reused = find_record(pull);
    return 0;
}

static int fill_base(Pull *pull, Publish *publish, Error *error) {
    int r = fetch_layers(pull, error);
    if (r >= 0)
        r = read_config(pull, error);
    if (r >= 0)
        r = apply_layers(pull, publish, error);
    if (r >= 0)
        r = image_context_check(pull->context, error);
    if (r >= 0)
        r = base_digest(publish_scratch_fd(publish), pull->context->cancel_fd, pull->record.base,
                        error);
    if (r < 0)
        return r;
    memcpy(pull->record.source_sha256, pull->digest, sizeof(pull->digest));
    image_record_write(pull->context->home, pull->key, &pull->record);
    return base_publish(publish, pull->record.base, error);
}

static int make_base(Pull *pull, Error *error) {
    _cleanup_free_ char *name = str_format("pull-%s", pull->key);
    PublishOptions options = image_publish_options(pull->context, "images", name);
    _cleanup_(publish_free_p) Publish *publish = NULL;
    bool exists = false;
    int r;
    options.check = check_again;
    options.data = pull;
    r = publish_begin(&options, &publish, &exists, error);
    if (r >= 0 && !exists)
        return fill_base(pull, publish, error);
    return r < 0 ? r : read_config(pull, error);
}

static int get_base(Pull *pull, Error *error) {
    _cleanup_free_ char *text = str_format("ramet oci %d\n%s %llu\n", RECORD_VERSION, pull->digest,
                                           (unsigned long long)pull->request->size_bytes);
    sha256_data(text, strlen(text), pull->key);
    pull->reused = find_record(pull);
    return pull->reused ? read_config(pull, error) : make_base(pull, error);
}

/* It becomes a folder, or Docker's what a registry could have given. */
static int open_file(Pull *pull, Error *error) {
    const OciBlobs clients = {.open = pull->request->open, .data = pull->request->open_data};
    _cleanup_close_ int fd = -1;
    int r = oci_blobs_open_path(&clients, pull->reference.file, &fd, error);
    if (r < 0)
        return r;
    if (!pull->reference.docker) {
        r = oci_file_unpack(pull->context, fd, &pull->scratch, error);
        if (r < 0)
            return r;
        pull->reference.folder = str_copy(pull->scratch);
        pull->blobs.folder = path_join(pull->scratch, "blobs");
        return 0;
    }
    r = oci_blobs_open_cache(pull->context->home, &pull->blobs, error);
    return r < 0 ? r
                 : oci_file_convert(&pull->registry, fd, pull->reference.tag, pull->blobs.folder,
                                    &pull->scratch, error);
}

static int begin(Pull *pull, Error *error) {
    int r = oci_reference_parse(pull->request->reference, &pull->reference, error);
    if (r >= 0)
        r = oci_platform_parse(pull->request->platform, &pull->platform, error);
    if (r < 0)
        return r;
    pull->registry = (OciRegistry){.context = pull->context,
                                   .repository = pull->reference.repository,
                                   .auth_fd = pull->request->auth_fd,
                                   .insecure = pull->request->insecure};
    if (pull->reference.file)
        return open_file(pull, error);
    if (!is_folder(pull))
        return oci_blobs_open_cache(pull->context->home, &pull->blobs, error);
    pull->blobs = (OciBlobs){.folder = path_join(pull->reference.folder, "blobs"),
                             .open = pull->request->open,
                             .data = pull->request->open_data};
    return 0;
}

/* The agent stays PID 1 for a program; an init system takes that place itself. */
static ImageInit find_init(const json_t *settings) {
    const json_t *entrypoint = json_object_get(settings, "entrypoint");
    const json_t *words =
        json_array_size(entrypoint) > 0 ? entrypoint : json_object_get(settings, "command");
    const char *program = json_string_value(json_array_get(words, 0));
    const char *base = program && strrchr(program, '/') ? strrchr(program, '/') + 1 : program;
    return !base || str_equal(base, "init") || str_equal(base, "systemd") ? IMAGE_INIT_UNKNOWN
                                                                          : IMAGE_INIT_AGENT;
}

static int fill(Pull *pull, const KernelBundle *kernel, ImageInfo *info, Error *error) {
    int r = image_fill_info(pull->context, pull->request->name, pull->record.base, kernel,
                            pull->request->size_bytes, info, error);
    if (r < 0)
        return r;
    info->default_memory_bytes = DEFAULT_MEMORY_BYTES;
    info->source = str_copy(pull->request->reference);
    info->settings = json_incref(pull->config.settings);
    info->init = find_init(pull->config.settings);
    info->reused = pull->reused;
    str_set(info->manifest, pull->digest);
    return 0;
}

/* 1: it is an archive. */
static int find_archive(const Pull *pull, Error *error) {
    const ImagePullRequest *request = pull->request;
    const char *kind = pull->manifest.archive;
    if (!*kind && request->archive_only)
        return error_set(error, ERROR_USAGE, EINVAL, "it is no archive that ramet pushed");
    if (!*kind)
        return 0;
    if (!request->archive || pull->reference.file)
        return error_set(error, ERROR_USAGE, EINVAL, "it is no image of a container, but of a VM");
    str_set(request->archive->kind, kind);
    str_set(request->archive->digest, pull->digest);
    return 1;
}

int image_pull(const ImageContext *context, const ImagePullRequest *request, ImageInfo *info,
               Error *error) {
    _cleanup_(pull_free) Pull pull = {.context = context, .request = request};
    _cleanup_kernel_bundle_ KernelBundle kernel = {0};
    int r = request->name ? name_check("image", request->name, error) : 0;
    if (r >= 0)
        r = begin(&pull, error);
    if (r < 0)
        return pull.reference.file ? error_add_context(error, "cannot pull %s", request->reference)
                                   : r;
    image_context_progress(context, "asking for the manifest", 0, 0);
    r = resolve(&pull, error);
    if (r >= 0)
        r = find_archive(&pull, error);
    if (r > 0)
        return r;
    if (r >= 0)
        r = check_policy(&pull, error);
    if (r >= 0)
        r = kernel_bundle_ensure(context, &request->kernel, &kernel, error);
    if (r >= 0)
        r = get_base(&pull, error);
    if (r < 0)
        return error_add_context(error, "cannot pull %s", request->reference);
    return fill(&pull, &kernel, info, error);
}
