/* SPDX-License-Identifier: Apache-2.0 */

/* The decoders. Each step takes from `in` and gives to `out`, and notes in `complete` whether a
 * frame has just ended, so that a truncated input is told from a whole one. What follows a frame
 * must be another frame: anything else is an error of the library or, for gzip, of the missing
 * magic. The memory that a stream may ask for is bounded: 128 MiB windows for zstd (as its own tool
 * does), 256 MiB for xz. */

#include <errno.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "disk/decode.h"

#define ZSTD_WINDOW_LOG 27
#define XZ_MEMORY_BYTES ((uint64_t)256 << 20)

struct Decoder {
    ExtractCompression compression;
    bool complete; /* the last frame has ended and no other has begun */
    ZSTD_DStream *zstd;
    lzma_stream xz;
    z_stream gzip;
};

Decoder *decoder_new(ExtractCompression compression) {
    Decoder *decoder = calloc(1, sizeof(*decoder));
    bool ok = decoder != NULL;
    if (!ok)
        abort();
    decoder->compression = compression;
    decoder->xz = (lzma_stream)LZMA_STREAM_INIT;
    if (compression == EXTRACT_ZSTD) {
        decoder->zstd = ZSTD_createDStream();
        ok = decoder->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(
                                  decoder->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG));
    } else if (compression == EXTRACT_XZ) {
        ok = lzma_stream_decoder(&decoder->xz, XZ_MEMORY_BYTES, LZMA_CONCATENATED) == LZMA_OK;
    } else if (compression == EXTRACT_GZIP) {
        ok = inflateInit2(&decoder->gzip, 16 + MAX_WBITS) == Z_OK; /* 16: gzip only */
    }
    if (!ok)
        abort();
    return decoder;
}

void decoder_free(Decoder *decoder) {
    if (!decoder)
        return;
    ZSTD_freeDStream(decoder->zstd);
    lzma_end(&decoder->xz);
    if (decoder->compression == EXTRACT_GZIP)
        (void)inflateEnd(&decoder->gzip);
    free(decoder);
}

static int corrupt(Error *error, const char *what, const char *why) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "damaged %s data: %s", what, why);
}

static int too_much_memory(Error *error, const char *what) {
    error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "%s data needs too much memory to decode", what);
    error_set_hint(error, "compress it again with a smaller window");
    return -ENOTSUP;
}

/* At the end of the input "in" may be null, and even null + 0 is undefined. */
static void advance(DecodeBuffers *buffers, size_t used, size_t made) {
    if (used > 0)
        buffers->in += used;
    buffers->in_size -= used;
    buffers->out += made;
    buffers->out_size -= made;
}

static int step_plain(Decoder *decoder, DecodeBuffers *buffers) {
    size_t size = MIN_OF(buffers->in_size, buffers->out_size);
    if (size > 0)
        memcpy(buffers->out, buffers->in, size);
    advance(buffers, size, size);
    decoder->complete = true;
    return 0;
}

static int step_zstd(Decoder *decoder, DecodeBuffers *buffers, Error *error) {
    ZSTD_inBuffer in = {buffers->in, buffers->in_size, 0};
    ZSTD_outBuffer out = {buffers->out, buffers->out_size, 0};
    size_t left;
    while (in.pos < in.size || !decoder->complete) {
        size_t in_before = in.pos, out_before = out.pos;
        left = ZSTD_decompressStream(decoder->zstd, &out, &in);
        if (ZSTD_getErrorCode(left) == ZSTD_error_frameParameter_windowTooLarge)
            return too_much_memory(error, "zstd");
        if (ZSTD_isError(left) && decoder->complete)
            return corrupt(error, "zstd", "trailing garbage");
        if (ZSTD_isError(left))
            return corrupt(error, "zstd", ZSTD_getErrorName(left));
        if (in.pos > in_before || out.pos > out_before)
            decoder->complete = left == 0;
        if (out.pos == out.size || (in.pos == in_before && out.pos == out_before))
            break;
    }
    advance(buffers, in.pos, out.pos);
    return 0;
}

static const char *xz_reason(lzma_ret r) {
    switch (r) {
    case LZMA_FORMAT_ERROR:
        return "trailing garbage, or no xz at all";
    case LZMA_OPTIONS_ERROR:
        return "unknown options";
    case LZMA_BUF_ERROR:
        return "truncated";
    default:
        return "a checksum does not match, or trailing garbage";
    }
}

static int step_xz(Decoder *decoder, DecodeBuffers *buffers, Error *error) {
    lzma_stream *xz = &decoder->xz;
    lzma_ret r;
    if (decoder->complete && buffers->in_size == 0)
        return 0;
    xz->next_in = buffers->in;
    xz->avail_in = buffers->in_size;
    xz->next_out = buffers->out;
    xz->avail_out = buffers->out_size;
    r = lzma_code(xz, buffers->in_last ? LZMA_FINISH : LZMA_RUN);
    advance(buffers, buffers->in_size - xz->avail_in, buffers->out_size - xz->avail_out);
    if (r == LZMA_STREAM_END) {
        decoder->complete = true;
        return buffers->in_size == 0 ? 0 : corrupt(error, "xz", "trailing garbage");
    }
    if (r == LZMA_MEMLIMIT_ERROR || r == LZMA_MEM_ERROR)
        return too_much_memory(error, "xz");
    if (r == LZMA_BUF_ERROR && !buffers->in_last)
        return 0; /* only that it made no progress: more input comes */
    return r == LZMA_OK ? 0 : corrupt(error, "xz", xz_reason(r));
}

static int step_gzip(Decoder *decoder, DecodeBuffers *buffers, Error *error) {
    z_stream *gzip = &decoder->gzip;
    int r = Z_OK;
    while (buffers->out_size > 0 && (buffers->in_size > 0 || !decoder->complete)) {
        size_t in_now = MIN_OF(buffers->in_size, (size_t)UINT32_MAX / 2);
        size_t out_now = MIN_OF(buffers->out_size, (size_t)UINT32_MAX / 2);
        gzip->next_in = (Bytef *)buffers->in;
        gzip->avail_in = (uInt)in_now;
        gzip->next_out = buffers->out;
        gzip->avail_out = (uInt)out_now;
        r = inflate(gzip, Z_NO_FLUSH);
        advance(buffers, in_now - gzip->avail_in, out_now - gzip->avail_out);
        if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
            return corrupt(error, "gzip",
                           decoder->complete ? "trailing garbage"
                                             : (gzip->msg ? gzip->msg : "cannot be decoded"));
        if (r == Z_BUF_ERROR)
            break; /* needs more input */
        decoder->complete = r == Z_STREAM_END;
        if (decoder->complete && inflateReset(gzip) != Z_OK)
            return corrupt(error, "gzip", "cannot be decoded");
    }
    return 0;
}

int decoder_step(Decoder *decoder, DecodeBuffers *buffers, Error *error) {
    switch (decoder->compression) {
    case EXTRACT_ZSTD:
        return step_zstd(decoder, buffers, error);
    case EXTRACT_XZ:
        return step_xz(decoder, buffers, error);
    case EXTRACT_GZIP:
        return step_gzip(decoder, buffers, error);
    default:
        return step_plain(decoder, buffers);
    }
}

bool decoder_is_complete(const Decoder *decoder) {
    return decoder->complete;
}

static bool begins(const uint8_t *data, size_t size, const char *magic, size_t length) {
    return size >= length && memcmp(data, magic, length) == 0;
}

ExtractCompression decoder_sniff(const uint8_t *data, size_t size) {
    if (begins(data, size, "\x28\xb5\x2f\xfd", 4))
        return EXTRACT_ZSTD;
    if (size >= 4 && (data[0] & 0xf0) == 0x50 && memcmp(data + 1, "\x2a\x4d\x18", 3) == 0)
        return EXTRACT_ZSTD; /* a skippable frame comes first (RFC 8878, 3.1.2) */
    if (begins(data, size,
               "\xfd"
               "7zXZ\0",
               6))
        return EXTRACT_XZ;
    if (begins(data, size, "\x1f\x8b\x08", 3))
        return EXTRACT_GZIP;
    return EXTRACT_PLAIN;
}
