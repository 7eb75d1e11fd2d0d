/* SPDX-License-Identifier: Apache-2.0 */
#include "image/oci/oci_manifest.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "image/oci/oci_parts.h"

static int read_descriptor(const json_t *json, OciDescriptor *descriptor, Error *error) {
    const char *digest = json_string_value(json_object_get(json, "digest"));
    json_int_t size = json_integer_value(json_object_get(json, "size"));
    int r = oci_read_digest(digest, descriptor->digest, error);
    if (r < 0)
        return r;
    if (!json_is_integer(json_object_get(json, "size")) || size < 0)
        return oci_bad("a descriptor has no size", error);
    descriptor->size = (uint64_t)size;
    return 0;
}

static void read_platform(const json_t *json, OciPlatform *platform) {
    str_set(platform->os, str_or_empty(json_string_value(json_object_get(json, "os"))));
    str_set(platform->architecture,
            str_or_empty(json_string_value(json_object_get(json, "architecture"))));
    str_set(platform->variant, str_or_empty(json_string_value(json_object_get(json, "variant"))));
}

static int read_items(const json_t *list, size_t max, OciManifest *manifest, Error *error) {
    const json_t *item;
    size_t i;
    int r = 0;
    if (!json_is_array(list) || json_array_size(list) > max)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "a manifest has at most %zu entries", max);
    manifest->items = calloc(json_array_size(list) + 1, sizeof(*manifest->items));
    if (!manifest->items)
        abort();
    json_array_foreach(list, i, item) {
        OciDescriptor *made = &manifest->items[manifest->n_items++];
        const json_t *annotations = json_object_get(item, "annotations");
        r = read_descriptor(item, made, error);
        if (r < 0)
            return r;
        read_platform(json_object_get(item, "platform"), &made->platform);
        made->tag = str_copy(
            json_string_value(json_object_get(annotations, "org.opencontainers.image.ref.name")));
        made->title = str_copy(
            json_string_value(json_object_get(annotations, "org.opencontainers.image.title")));
    }
    return 0;
}

/* What `image push` and `snapshot push` wrote (docs/archive.md). */
static bool find_archive(const char *kind, OciManifest *manifest) {
    if (str_equal(kind, "application/vnd.ramet.image.v1+json"))
        str_set(manifest->archive, "image");
    else if (str_equal(kind, "application/vnd.ramet.snapshot.v1+json"))
        str_set(manifest->archive, "snapshot");
    return *manifest->archive;
}

/* Something else may be kept in a registry in the same form. */
static int check_kind(const json_t *json, OciManifest *manifest, Error *error) {
    static const char *const kinds[] = {"application/vnd.oci.image.config.v1+json",
                                        "application/vnd.docker.container.image.v1+json"};
    const char *kind =
        json_string_value(json_object_get(json_object_get(json, "config"), "mediaType"));
    for (size_t i = 0; kind && i < ARRAY_SIZE(kinds); i++)
        if (str_equal(kind, kinds[i]))
            return 0;
    if (find_archive(kind, manifest))
        return 0;
    _cleanup_free_ char *shown = str_sanitize(str_or_empty(kind), strnlen(str_or_empty(kind), 100));
    return error_set(error, ERROR_CORRUPT, EBADMSG,
                     "it is no image of a container: its configuration is of type \"%s\"", shown);
}

static int check_layers(const json_t *layers, Error *error) {
    const json_t *layer;
    size_t i;
    json_array_foreach(layers, i, layer) {
        const char *kind = json_string_value(json_object_get(layer, "mediaType"));
        if (kind && strstr(kind, "encrypted"))
            return error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "its layers are encrypted");
    }
    return 0;
}

static int read_image(const json_t *json, OciManifest *manifest, Error *error) {
    int r = check_kind(json, manifest, error);
    if (r >= 0)
        r = read_descriptor(json_object_get(json, "config"), &manifest->config, error);
    if (r >= 0)
        r = check_layers(json_object_get(json, "layers"), error);
    return r < 0 ? r : read_items(json_object_get(json, "layers"), OCI_LAYERS_MAX, manifest, error);
}

static int read_manifest(const json_t *json, OciManifest *manifest, Error *error) {
    json_int_t version = json_integer_value(json_object_get(json, "schemaVersion"));
    if (version == 1)
        return error_set(error, ERROR_UNSUPPORTED, ENOTSUP,
                         "the image has a manifest of Docker's first kind, which nobody makes any "
                         "more");
    manifest->is_index = json_is_array(json_object_get(json, "manifests"));
    if (manifest->is_index && json_object_get(json, "layers"))
        return oci_bad("a manifest is an image and an index", error);
    return manifest->is_index
               ? read_items(json_object_get(json, "manifests"), OCI_ENTRIES_MAX, manifest, error)
               : read_image(json, manifest, error);
}

int oci_manifest_parse(const char *text, size_t size, OciManifest *manifest, Error *error) {
    _cleanup_json_ json_t *json = NULL;
    OciManifest made = {0};
    int r = oci_read_json("the manifest", text, size, &json, error);
    if (r >= 0)
        r = read_manifest(json, &made, error);
    if (r < 0) {
        oci_manifest_free(&made);
        return r;
    }
    *manifest = made;
    return 0;
}

void oci_manifest_free(OciManifest *manifest) {
    for (size_t i = 0; i < manifest->n_items; i++) {
        free(manifest->items[i].tag);
        free(manifest->items[i].title);
    }
    free(manifest->items);
    *manifest = (OciManifest){0};
}

/* ---- choosing ---- */

int oci_index_find_tag(const OciManifest *index, const char *tag, const OciDescriptor **entry,
                       Error *error) {
    const OciDescriptor *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < index->n_items; i++)
        if (!tag || str_equal(index->items[i].tag, tag)) {
            found = &index->items[i];
            count++;
        }
    if (count == 1) {
        *entry = found;
        return 0;
    }
    if (tag)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "there is %s image with the tag %s",
                         count ? "more than one" : "no", tag);
    error_set(error, ERROR_USAGE, EINVAL, "it holds %zu images", count);
    error_set_hint(error, "name one by its tag: oci:FOLDER:TAG, oci-archive:FILE:TAG");
    return -EINVAL;
}

/* How well an entry fits: 0 not at all. */
static int fit(const OciPlatform *entry, const OciPlatform *wanted) {
    if (!str_equal(entry->os, wanted->os) || !str_equal(entry->architecture, wanted->architecture))
        return 0;
    if (str_equal(entry->variant, wanted->variant))
        return 3;
    if (*wanted->variant)
        return *entry->variant ? 0 : 1;
    return 2;
}

static char *list_platforms(const OciManifest *index) {
    StrBuf list = {0};
    for (size_t i = 0; i < index->n_items && list.size < 300; i++) {
        _cleanup_free_ char *text = oci_platform_text(&index->items[i].platform);
        _cleanup_free_ char *shown = str_sanitize(text, strlen(text));
        if (*index->items[i].platform.os && !str_equal(index->items[i].platform.os, "unknown"))
            strbuf_add_format(&list, "%s%s", list.size ? ", " : "", shown);
    }
    if (list.size == 0)
        strbuf_add_text(&list, "none");
    return strbuf_steal(&list);
}

int oci_index_choose(const OciManifest *index, const OciPlatform *platform,
                     const OciDescriptor **entry, Error *error) {
    int best = 0;
    for (size_t i = 0; i < index->n_items; i++) {
        int fits = fit(&index->items[i].platform, platform);
        if (fits > best) {
            *entry = &index->items[i];
            best = fits;
        }
    }
    if (best > 0)
        return 0;
    if (index->n_items == 1 && !*index->items[0].platform.os) {
        *entry = &index->items[0];
        return 0;
    }
    _cleanup_free_ char *wanted = oci_platform_text(platform), *list = list_platforms(index);
    error_set(error, ERROR_NOT_FOUND, ENOENT, "there is none for %s; there are: %s", wanted, list);
    error_set_hint(error, "choose another one with --platform");
    return -ENOENT;
}
