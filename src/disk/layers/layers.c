/* SPDX-License-Identifier: Apache-2.0 */

/* How large the disk has to be is known only at the end. It is sparse, so it is made large; when
 * that was not enough, all begins again with twice of it. */

#include "disk/layers/layers.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/fd.h"
#include "base/str.h"
#include "disk/layers/ext4.h"
#include "disk/layers/layer_apply.h"
#include "disk/layers/layer_stream.h"
#include "disk/layers/tree_path.h"
#include "disk/rootfs/rootfs.h"

#define DISK_BYTES_MIN (2 * GIB)
#define DISK_BYTES_MAX (16 * 1024 * GIB)
#define EXPECTED_RATIO 5 /* of decoded to compressed bytes: more than most layers have */
#define INODE_PER_BYTES 16384
#define MAX_ENTRIES ((uint64_t)2000000)
#define TREE_BYTES_MAX (768 * MIB)
#define EPOCH_SEC 1704067200 /* 2024-01-01T00:00:00Z */

typedef struct Layers {
    const LayersOptions *options; /* borrowed */
    uint64_t total_bytes;         /* of the layers as they are stored */
    uint64_t done_bytes;
    uint64_t max_stream_bytes; /* that all layers may decode to */
    uint64_t stream_bytes;
    Tree tree;
    Ext4 *ext4;
    LayerApply apply;
    LayersResult result;
} Layers;

static void release_blocks(void *data, TreeFile *file) {
    ext4_release(data, file);
}

typedef struct LayerRead {
    Layers *layers;
    LayerStream *stream;
} LayerRead;

static ssize_t read_layer(void *data, const void **bytes, Error *error) {
    LayerRead *read = data;
    Layers *layers = read->layers;
    ssize_t n = layer_stream_next(read->stream, bytes, error);
    if (n <= 0)
        return n;
    layers->stream_bytes += (uint64_t)n;
    if (layers->stream_bytes > layers->max_stream_bytes)
        return layer_too_much(&layers->apply, "its layers decode to ", layers->max_stream_bytes,
                              error);
    return n;
}

/* What is behind the tar's end belongs to the digests, too. */
static int drain(LayerRead *read, Error *error) {
    const void *bytes;
    ssize_t n;
    do
        n = read_layer(read, &bytes, error);
    while (n > 0);
    return (int)n;
}

static int check_digests(Layers *layers, size_t i, LayerStream *stream, Error *error) {
    const Layer *layer = &layers->options->layers[i];
    char stored[SHA256_HEX_SIZE], decoded[SHA256_HEX_SIZE];
    bool same;
    layer_stream_digests(stream, stored, decoded);
    same = str_equal(stored, layer->stored);
    if (same && (!*layer->decoded || str_equal(decoded, layer->decoded)))
        return 0;
    if (!same)
        layers->result.wrong_layer = i;
    error_set(error, ERROR_CORRUPT, EBADMSG,
              same ? "it decodes to sha256:%s, and the configuration says sha256:%s"
                   : "its bytes have the digest sha256:%s instead of sha256:%s",
              same ? decoded : stored, same ? layer->decoded : layer->stored);
    error_set_hint(error, "it was damaged, or somebody lies about it: pull it again, or from "
                          "elsewhere");
    return -EBADMSG;
}

static void layer_closed(TarReader *reader) {
    tar_reader_close(reader);
}

static int apply_layer(Layers *layers, size_t i, Error *error) {
    _cleanup_(layer_stream_free_p) LayerStream *stream = NULL;
    _cleanup_(layer_closed) TarReader reader = {0};
    LayerRead read = {.layers = layers};
    int r = layer_stream_open(layers->options->layers[i].fd, layers->options->cancel_fd, &stream,
                              error);
    if (r < 0)
        return r;
    read.stream = stream;
    layers->apply.number = (unsigned)i + 1;
    r = tar_reader_open_with(&reader, read_layer, &read, error);
    if (r >= 0)
        r = layer_apply(&layers->apply, &reader, error);
    if (r >= 0)
        r = drain(&read, error);
    return r < 0 ? r : check_digests(layers, i, stream, error);
}

static void tell(Layers *layers, size_t i) {
    struct stat st;
    if (fstat(layers->options->layers[i].fd, &st) == 0)
        layers->done_bytes += (uint64_t)st.st_size;
    if (layers->options->progress)
        layers->options->progress(layers->options->progress_data, layers->done_bytes,
                                  layers->total_bytes);
}

/* Where the image has something else of that name, it stays. */
static void add_folders(Layers *layers) {
    for (const char *const *folder = layers->options->folders; folder && *folder; folder++)
        (void)tree_make_folder(&layers->tree, *folder, str_equal(*folder, "tmp") ? 01777 : 0755,
                               (unsigned)layers->options->n_layers + 1, NULL);
}

static int apply_all(Layers *layers, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < layers->options->n_layers; i++) {
        r = apply_layer(layers, i, error);
        if (r < 0)
            return error_add_context(error, "layer sha256:%.12s",
                                     layers->options->layers[i].stored);
        tell(layers, i);
    }
    if (r < 0)
        return r;
    add_folders(layers);
    return ext4_finish(layers->ext4, &layers->tree, error);
}

static void attempt_end(Layers *layers) {
    tree_free(&layers->tree);
    ext4_free(layers->ext4);
    layers->ext4 = NULL;
}

/* 1: the disk is too small. */
static int attempt(Layers *layers, uint64_t bytes, Error *error) {
    RootfsOptions empty = {.output_path = layers->options->output_path,
                           .scratch_folder = layers->options->scratch_folder,
                           .size_bytes = bytes,
                           .uuid = layers->options->uuid,
                           .epoch_sec = EPOCH_SEC,
                           .cancel_fd = layers->options->cancel_fd};
    bool full;
    int r = rootfs_make_empty(&empty, bytes / INODE_PER_BYTES, error);
    if (r >= 0)
        r = ext4_open(empty.output_path, EPOCH_SEC, &layers->ext4, error);
    if (r < 0)
        return r;
    tree_init(&layers->tree, TREE_BYTES_MAX);
    layers->tree.root->file->changed_sec = EPOCH_SEC;
    layers->tree.release = release_blocks;
    layers->tree.data = layers->ext4;
    layers->apply.tree = &layers->tree;
    layers->apply.ext4 = layers->ext4;
    layers->apply.entries = layers->apply.bytes = 0;
    layers->stream_bytes = layers->done_bytes = 0;
    r = apply_all(layers, error);
    full = r < 0 && ext4_is_full(layers->ext4);
    attempt_end(layers);
    return full ? 1 : r;
}

static int find_bounds(Layers *layers, Error *error) {
    const LayersOptions *options = layers->options;
    uint64_t max_bytes = options->max_bytes;
    struct statvfs room;
    struct stat st;
    for (size_t i = 0; i < options->n_layers; i++) {
        if (fstat(options->layers[i].fd, &st) < 0)
            return error_set_errno(error, errno, "cannot look at a layer");
        layers->total_bytes += (uint64_t)st.st_size;
    }
    if (max_bytes == 0 && statvfs(options->scratch_folder, &room) < 0)
        return error_set_errno(error, errno, "cannot look at %s", options->scratch_folder);
    layers->apply.bound_by_room = max_bytes == 0;
    if (max_bytes == 0)
        max_bytes = (uint64_t)room.f_bavail * room.f_frsize;
    layers->apply.max_bytes = max_bytes;
    layers->apply.max_entries = options->max_entries ? options->max_entries : MAX_ENTRIES;
    /* Each entry has a header of 512 bytes, most have a second one, and their ends are filled up.
     */
    layers->max_stream_bytes = max_bytes + layers->apply.max_entries * 4096;
    return 0;
}

int layers_to_ext4(const LayersOptions *options, LayersResult *result, Error *error) {
    Layers layers = {.options = options, .result = {.wrong_layer = options->n_layers}};
    uint64_t bytes = options->size_bytes;
    int r = find_bounds(&layers, error);
    if (bytes == 0)
        bytes = MAX_OF(DISK_BYTES_MIN, layers.total_bytes * EXPECTED_RATIO + GIB) / MIB * MIB;
    while (r >= 0) {
        r = attempt(&layers, bytes, error);
        if (r <= 0 || options->size_bytes > 0 || bytes >= DISK_BYTES_MAX)
            break;
        error_clear(error);
        bytes *= 2;
    }
    layers.result.virtual_bytes = bytes;
    layers.result.content_bytes = layers.apply.bytes;
    layers.result.entries = layers.apply.entries;
    *result = layers.result;
    return r > 0 ? -ENOSPC : r;
}
