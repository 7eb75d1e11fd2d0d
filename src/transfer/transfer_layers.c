/* SPDX-License-Identifier: Apache-2.0 */

#include "transfer/transfer_layers.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/str.h"
#include "frozen/layers.h"
#include "frozen/stamp.h"
#include "home/inside.h"
#include "transfer/transfer_layer.h"

#define VIRTUAL_BYTES_MAX ((uint64_t)1 << 50)

void transfer_layers_free(TransferLayers *layers) {
    for (size_t i = 0; i < layers->count; i++) {
        layer_row_free(&layers->items[i].row);
        publish_free(layers->items[i].publish);
    }
}

static const char *text_of(const json_t *json, const char *key) {
    return str_or_empty(json_string_value(json_object_get(json, key)));
}

/* The layer of that id, if it is here, is the same, and stands on the same. */
static bool is_here(const TransferLayers *layers, const LayerRow *wanted, const char *digest,
                    int cancel_fd) {
    _cleanup_layer_row_ LayerRow row = {0};
    _cleanup_archive_file_ ArchiveFile file = ARCHIVE_FILE_INIT;
    _cleanup_free_ char *path = layer_path(layers->home, wanted->id);
    char found[TREE_DIGEST_SIZE];
    int fd;
    if (layers_get(layers->home->store, wanted->id, &row, NULL) < 0 ||
        !str_equal(row.parent, wanted->parent) || !str_equal(row.base_path, wanted->base_path))
        return false;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && transfer_layer_open(&file, fd, NULL) >= 0 &&
           archive_file_digest(&file, cancel_fd, found, NULL) >= 0 && str_equal(found, digest);
}

/* One that is not here gets an id of its own where another has that. */
static int begin_layer(TransferLayers *layers, TransferLayer *layer, ArchiveMember *member,
                       int cancel_fd, Error *error) {
    _cleanup_free_ char *id = random_hex(16), *name = NULL;
    _cleanup_layer_row_ LayerRow other = {0};
    PublishOptions options = {.home = layers->home->path, .kind = "layers", .cancel_fd = cancel_fd};
    bool exists = false;
    int r;
    if (layers_get(layers->home->store, layer->row.id, &other, NULL) >= 0)
        str_set(layer->row.id, id);
    name = str_format("%s.qcow2", layer->row.id);
    options.name = name;
    r = publish_begin(&options, &layer->publish, &exists, error);
    if (r >= 0 && exists)
        r = error_set(error, ERROR_CONFLICT, EEXIST, "layer %s is being made", layer->row.id);
    return r < 0 ? r : archive_member_want(member, publish_scratch_fd(layer->publish), error);
}

/* What the manifest says of it, over the one before it, of the same disk. */
static int read_row(const TransferLayers *layers, const json_t *json, const char *base,
                    TransferLayer *layer) {
    const TransferLayer *last = &layers->items[layers->count];
    bool first = layers->count == 0 || last[-1].disk != layer->disk;
    uint8_t bytes[16];
    LayerRow *row = &layer->row;
    if (hex_decode(text_of(json, "id"), bytes, sizeof(bytes)) < 0 ||
        json_get_u64("layer", json, "virtual_bytes", &row->virtual_bytes, NULL) < 0 ||
        row->virtual_bytes % 512 != 0 || row->virtual_bytes == 0 ||
        row->virtual_bytes > VIRTUAL_BYTES_MAX)
        return -EBADMSG;
    str_set(row->id, text_of(json, "id"));
    str_set(row->parent, first ? "" : last[-1].row.id);
    row->depth = first ? 1 : last[-1].row.depth + 1;
    row->base_path = str_copy(base);
    return 0;
}

static int want_layer(TransferLayers *layers, ArchiveReader *reader, size_t disk, const char *base,
                      const json_t *json, int cancel_fd, Error *error) {
    TransferLayer *layer = &layers->items[layers->count];
    const char *digest = text_of(json, "digest");
    _cleanup_free_ char *name = str_format("layer-%s", text_of(json, "id"));
    ArchiveMember *member = archive_members_find(&reader->members, name);
    *layer = (TransferLayer){.disk = disk};
    if (read_row(layers, json, base, layer) < 0 || (member && !str_equal(member->digest, digest)))
        return archive_manifest_damaged(error, "a layer of a disk");
    layers->count++;
    if (is_here(layers, &layer->row, digest, cancel_fd))
        return 0;
    if (!member)
        return error_set(error, ERROR_NOT_FOUND, ENOENT,
                         "the archive stands on a disk layer (%.12s) that is not here",
                         layer->row.id);
    return begin_layer(layers, layer, member, cancel_fd, error);
}

int transfer_layers_want(TransferLayers *layers, ArchiveReader *reader, size_t disk,
                         const char *base, const json_t *list, int cancel_fd, Error *error) {
    const json_t *one;
    size_t i;
    if (!json_is_array(list) || json_array_size(list) > TRANSFER_LAYERS_MAX - layers->count)
        return archive_manifest_damaged(error, "the layers of a disk");
    json_array_foreach(list, i, one) {
        int r = want_layer(layers, reader, disk, base, one, cancel_fd, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int finish_layer(TransferLayers *layers, TransferLayer *layer, int cancel_fd, Error *error) {
    bool first = !*layer->row.parent;
    _cleanup_free_ char *backing =
        first ? str_copy(layer->row.base_path) : layer_path(layers->home, layer->row.parent);
    int fd = publish_scratch_fd(layer->publish);
    int r = transfer_layer_adopt(layers->home, fd, layer->row.virtual_bytes, backing,
                                 first ? "raw" : "qcow2", error);
    if (r >= 0)
        r = transfer_layer_check(publish_scratch_path(layer->publish), cancel_fd, error);
    if (r >= 0)
        r = sha256_file(fd, layer->row.sha256, error);
    if (r >= 0)
        r = publish_commit(layer->publish, error);
    return r < 0 ? r : stamp_make(fd, &layer->row.stamp, error);
}

/* In the order in which they stand on each other. */
int transfer_layers_finish(TransferLayers *layers, int cancel_fd, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < layers->count; i++)
        if (layers->items[i].publish)
            r = finish_layer(layers, &layers->items[i], cancel_fd, error);
    if (r < 0)
        transfer_layers_remove(layers);
    return r;
}

int transfer_layers_insert(const TransferLayers *layers, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < layers->count; i++)
        if (layers->items[i].publish)
            r = layers_insert(layers->home->store, &layers->items[i].row, error);
    return r;
}

void transfer_layers_remove(TransferLayers *layers) {
    for (size_t i = 0; i < layers->count; i++)
        if (layers->items[i].publish && publish_path(layers->items[i].publish))
            (void)unlink(publish_path(layers->items[i].publish));
}
