/* SPDX-License-Identifier: Apache-2.0 */

/*     file ──thread: read, SHA-256, decode, SHA-256──▶ ring of buffers ──▶ layer_stream_next
 *
 * The thread's error is set before the ring is finished, and read after its end was seen. */

#include "disk/layers/layer_stream.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "disk/decode.h"
#include "disk/ring.h"

#define CHUNK_BYTES ((size_t)256 << 10)
#define CHUNKS 8

struct LayerStream {
    int fd;        /* borrowed */
    int cancel_fd; /* borrowed */
    pthread_t thread;
    bool runs;
    Ring *ring;
    Decoder *decoder;
    Sha256 *stored, *decoded;
    uint8_t *input; /* owned */
    uint64_t offset;
    Error error; /* the thread's while it runs */
    bool held;
    uint64_t number;
};

static int read_input(LayerStream *stream, DecodeBuffers *buffers) {
    ssize_t n;
    if (fd_is_cancelled(stream->cancel_fd))
        return error_set(&stream->error, ERROR_CANCELLED, ECANCELED, "the caller stopped waiting");
    n = fd_pread_full(stream->fd, stream->input, CHUNK_BYTES, stream->offset);
    if (n < 0)
        return error_set_errno(&stream->error, (int)-n, "cannot read the layer");
    sha256_update(stream->stored, stream->input, (size_t)n);
    stream->offset += (uint64_t)n;
    buffers->in = stream->input;
    buffers->in_size = (size_t)n;
    buffers->in_last = n == 0;
    return 0;
}

/* Fills one buffer of the ring: 1, 0 at the end, or a negative errno. */
static int fill(LayerStream *stream, DecodeBuffers *buffers, uint8_t *room) {
    size_t in_before, out_before;
    bool complete = false;
    int r = 0;
    buffers->out = room;
    buffers->out_size = CHUNK_BYTES;
    while (r >= 0 && buffers->out_size > 0 && !complete) {
        if (buffers->in_size == 0 && !buffers->in_last)
            r = read_input(stream, buffers);
        if (r < 0)
            return r;
        in_before = buffers->in_size;
        out_before = buffers->out_size;
        r = decoder_step(stream->decoder, buffers, &stream->error);
        complete = r >= 0 && buffers->in_last && buffers->in_size == in_before &&
                   buffers->out_size == out_before;
    }
    if (r < 0)
        return r;
    if (complete && !decoder_is_complete(stream->decoder))
        return error_set(&stream->error, ERROR_CORRUPT, EBADMSG,
                         "truncated: its compressed data ends too early");
    sha256_update(stream->decoded, room, CHUNK_BYTES - buffers->out_size);
    if (buffers->out_size < CHUNK_BYTES)
        ring_commit(stream->ring, CHUNK_BYTES - buffers->out_size);
    return !complete;
}

static void *stream_main(void *data) {
    LayerStream *stream = data;
    DecodeBuffers buffers = {0};
    uint8_t *room;
    while ((room = ring_reserve(stream->ring)) && fill(stream, &buffers, room) > 0)
        ;
    ring_finish(stream->ring);
    return NULL;
}

int layer_stream_open(int fd, int cancel_fd, LayerStream **stream, Error *error) {
    uint8_t begin[8] = {0};
    ssize_t n = fd_pread_full(fd, begin, sizeof(begin), 0);
    LayerStream *made;
    int r;
    if (n < 0)
        return error_set_errno(error, (int)-n, "cannot read the layer");
    made = calloc(1, sizeof(*made));
    if (!made)
        abort();
    *made = (LayerStream){.fd = fd,
                          .cancel_fd = cancel_fd,
                          .ring = ring_new(CHUNKS, CHUNK_BYTES),
                          .decoder = decoder_new(decoder_sniff(begin, (size_t)n)),
                          .stored = sha256_new(),
                          .decoded = sha256_new(),
                          .input = malloc(CHUNK_BYTES)};
    if (!made->input)
        abort();
    r = pthread_create(&made->thread, NULL, stream_main, made);
    made->runs = r == 0;
    if (r != 0) {
        layer_stream_free(made);
        return error_set_errno(error, r, "cannot start a thread");
    }
    *stream = made;
    return 0;
}

ssize_t layer_stream_next(LayerStream *stream, const void **bytes, Error *error) {
    size_t size;
    if (stream->held)
        ring_release(stream->ring, stream->number);
    *bytes = ring_acquire(stream->ring, &size, &stream->number);
    stream->held = *bytes != NULL;
    if (*bytes)
        return (ssize_t)size;
    if (stream->error.kind != ERROR_NONE)
        return error_move(error, &stream->error);
    return 0;
}

void layer_stream_digests(LayerStream *stream, char stored[SHA256_HEX_SIZE],
                          char decoded[SHA256_HEX_SIZE]) {
    sha256_finish(stream->stored, stored);
    sha256_finish(stream->decoded, decoded);
}

void layer_stream_free(LayerStream *stream) {
    if (!stream)
        return;
    if (stream->runs) {
        ring_stop(stream->ring);
        pthread_join(stream->thread, NULL);
    }
    ring_free(stream->ring);
    decoder_free(stream->decoder);
    sha256_free(stream->stored);
    sha256_free(stream->decoded);
    error_clear(&stream->error);
    free(stream->input);
    free(stream);
}
