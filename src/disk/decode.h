/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_DECODE_H
#define RAMET_DISK_DECODE_H

/* Streaming decompression behind one interface: zstd, xz, gzip, or none. */

#include <stdbool.h>

#include "base/error.h"
#include "disk/formats.h"

typedef struct Decoder Decoder;

Decoder *decoder_new(ExtractCompression compression); /* aborts when out of memory */
void decoder_free(Decoder *decoder);
DEFINE_CLEANUP(Decoder *, decoder_free);

typedef struct DecodeBuffers {
    const uint8_t *in; /* borrowed; moves on as bytes are used */
    size_t in_size;
    bool in_last; /* nothing comes after these */
    uint8_t *out; /* borrowed; moves on as bytes are made */
    size_t out_size;
} DecodeBuffers;

/* Decodes as much as in and out allow. Several frames (members, streams) after each other are one
 * content. ERROR_CORRUPT: damaged, or something else behind the end; ERROR_UNSUPPORTED: needs too
 * much memory. */
int decoder_step(Decoder *decoder, DecodeBuffers *buffers, Error *error);

/* Is the input, when it ends here, whole? */
bool decoder_is_complete(const Decoder *decoder);

/* What the first bytes say. */
ExtractCompression decoder_sniff(const uint8_t *data, size_t size);

#endif
