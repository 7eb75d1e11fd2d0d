/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_LAYERS_LAYER_STREAM_H
#define RAMET_DISK_LAYERS_LAYER_STREAM_H

/* A layer's bytes, decoded and hashed by a thread of their own. */

#include <sys/types.h>

#include "base/digest.h"
#include "base/error.h"

typedef struct LayerStream LayerStream; /* opaque */

/* Reads the regular file `fd` (borrowed) from its start; what it is compressed with (nothing, gzip,
 * zstd, xz) is seen by its first bytes. cancel_fd readable or hung up ends it with ERROR_CANCELLED.
 */
int layer_stream_open(int fd, int cancel_fd, LayerStream **stream, Error *error);

/* The next decoded bytes, the stream's until the next call. Their count, 0 at the end, or a
 * negative errno. */
ssize_t layer_stream_next(LayerStream *stream, const void **bytes, Error *error);

/* After the end: the digests of the file's bytes, and of what they decode to. */
void layer_stream_digests(LayerStream *stream, char stored[SHA256_HEX_SIZE],
                          char decoded[SHA256_HEX_SIZE]);
void layer_stream_free(LayerStream *stream); /* NULL is fine */
DEFINE_CLEANUP(LayerStream *, layer_stream_free);

#endif
