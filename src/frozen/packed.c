/* SPDX-License-Identifier: Apache-2.0 */

/* Streaming by libzstd, in the calling thread, through two buffers.
 *
 * Writing: holes are not read but fed from a page of zeroes' worth of buffer, which zstd turns into
 * a few bytes for each 128 KiB. Reading: pages that are zero are not written, so that the target
 * stays sparse.
 *
 * What is read is hostile: the frame's header must name the expected size before anything is
 * decoded, the window is bounded, and the output ends at that size whatever the frame says. */

#include "frozen/packed.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/str.h"

#define CHUNK_BYTES ((size_t)1 << 20)
#define PAGE_BYTES ((size_t)4096)
#define LEVEL 3
#define WINDOW_LOG_MAX 23 /* 8 MiB; level 3 uses 2 MiB */

static void cctx_free_p(ZSTD_CCtx **context) {
    (void)ZSTD_freeCCtx(*context);
}

static void dctx_free_p(ZSTD_DCtx **context) {
    (void)ZSTD_freeDCtx(*context);
}

/* ---- writing ---- */

typedef struct Writer {
    ZSTD_CCtx *zstd; /* borrowed, as all of it */
    Sha256 *hash;
    int to;
    uint64_t at; /* in the target */
    uint8_t *in, *out;
} Writer;

static int compress(Writer *writer, const void *data, size_t size, ZSTD_EndDirective end,
                    Error *error) {
    ZSTD_inBuffer in = {data, size, 0};
    size_t left;
    do {
        ZSTD_outBuffer out = {writer->out, CHUNK_BYTES, 0};
        int r;
        left = ZSTD_compressStream2(writer->zstd, &out, &in, end);
        if (ZSTD_isError(left))
            return error_set(error, ERROR_FAILED, EIO, "cannot compress: %s",
                             ZSTD_getErrorName(left));
        r = fd_pwrite_full(writer->to, out.dst, out.pos, writer->at);
        if (r < 0)
            return error_set_errno(error, -r, "cannot write compressed memory");
        writer->at += out.pos;
    } while (in.pos < in.size || (end == ZSTD_e_end && left > 0));
    return 0;
}

static int write_zeroes(Writer *writer, uint64_t size, Error *error) {
    int r = 0;
    sha256_update_zeroes(writer->hash, size);
    memset(writer->in, 0, CHUNK_BYTES);
    while (r >= 0 && size > 0) {
        size_t part = (size_t)MIN_OF(size, (uint64_t)CHUNK_BYTES);
        r = compress(writer, writer->in, part, ZSTD_e_continue, error);
        size -= part;
    }
    return r;
}

static int write_data(Writer *writer, int from, uint64_t start, uint64_t end, Error *error) {
    int r = 0;
    while (r >= 0 && start < end) {
        size_t part = (size_t)MIN_OF(end - start, (uint64_t)CHUNK_BYTES);
        ssize_t n = fd_pread_full(from, writer->in, part, start);
        if (n != (ssize_t)part)
            return error_set_errno(error, n < 0 ? (int)-n : EIO, "cannot read saved memory");
        sha256_update(writer->hash, writer->in, part);
        r = compress(writer, writer->in, part, ZSTD_e_continue, error);
        start += part;
    }
    return r;
}

static int write_all(Writer *writer, int from, uint64_t size, Error *error) {
    uint64_t at = 0;
    int r = 0;
    while (r >= 0 && at < size) {
        off_t data = lseek(from, (off_t)at, SEEK_DATA), hole;
        if (data < 0 && errno != ENXIO)
            return error_set_errno(error, errno, "cannot read saved memory");
        if (data < 0 || (uint64_t)data > size)
            data = (off_t)size;
        hole = (uint64_t)data < size ? lseek(from, data, SEEK_HOLE) : data;
        if (hole < 0 || (uint64_t)hole > size)
            hole = (off_t)size;
        r = write_zeroes(writer, (uint64_t)data - at, error);
        if (r >= 0)
            r = write_data(writer, from, (uint64_t)data, (uint64_t)hole, error);
        at = (uint64_t)hole;
    }
    return r < 0 ? r : compress(writer, NULL, 0, ZSTD_e_end, error);
}

int packed_write(int from, int to, char sha256[SHA256_HEX_SIZE], uint64_t *bytes, Error *error) {
    _cleanup_(cctx_free_p) ZSTD_CCtx *zstd = ZSTD_createCCtx();
    _cleanup_(sha256_free_p) Sha256 *hash = sha256_new();
    _cleanup_free_ uint8_t *in = malloc(CHUNK_BYTES), *out = malloc(CHUNK_BYTES);
    Writer writer = {.zstd = zstd, .hash = hash, .to = to, .in = in, .out = out};
    off_t size = lseek(from, 0, SEEK_END);
    int r;
    if (size < 0)
        return error_set_errno(error, errno, "cannot find the size of saved memory");
    if (!zstd || !in || !out ||
        ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1)) ||
        ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(zstd, (uint64_t)size)))
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "cannot prepare to compress");
    r = write_all(&writer, from, (uint64_t)size, error);
    if (r < 0)
        return r;
    sha256_finish(hash, sha256);
    if (bytes)
        *bytes = (uint64_t)size;
    return 0;
}

/* ---- reading ---- */

typedef struct Reader {
    ZSTD_DCtx *zstd; /* borrowed, as all of it */
    Sha256 *hash;
    int from, to;
    uint64_t at, bytes; /* in the content */
    uint8_t *in, *out;
    bool ended; /* the frame is complete */
} Reader;

static int refuse(Error *error, const char *why) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "the compressed memory is damaged: %s", why);
}

/* Runs of pages with content. */
static int put_sparse(const Reader *reader, const uint8_t *data, size_t size) {
    size_t at = 0, end;
    int r = 0;
    while (r >= 0 && at < size) {
        while (at < size && bytes_are_zero(data + at, MIN_OF(PAGE_BYTES, size - at)))
            at += MIN_OF(PAGE_BYTES, size - at);
        for (end = at; end < size && !bytes_are_zero(data + end, MIN_OF(PAGE_BYTES, size - end));)
            end += MIN_OF(PAGE_BYTES, size - end);
        if (end > at)
            r = fd_pwrite_full(reader->to, data + at, end - at, reader->at + at);
        at = end;
    }
    return r;
}

static int put(Reader *reader, size_t size, Error *error) {
    int r = 0;
    if (size > reader->bytes - reader->at)
        return refuse(error, "it holds more than was saved");
    sha256_update(reader->hash, reader->out, size);
    if (reader->to >= 0)
        r = put_sparse(reader, reader->out, size);
    if (r < 0)
        return error_set_errno(error, -r, "cannot write decompressed memory");
    reader->at += size;
    return 0;
}

static int decompress(Reader *reader, size_t size, Error *error) {
    ZSTD_inBuffer in = {reader->in, size, 0};
    ZSTD_outBuffer out;
    int r = 0;
    do {
        size_t left;
        if (reader->ended)
            return refuse(error, "something stands after its end");
        out = (ZSTD_outBuffer){reader->out, CHUNK_BYTES, 0};
        left = ZSTD_decompressStream(reader->zstd, &out, &in);
        if (ZSTD_isError(left))
            return refuse(error, ZSTD_getErrorName(left));
        reader->ended = left == 0;
        r = put(reader, out.pos, error);
    } while (r >= 0 && (in.pos < in.size || (out.pos == out.size && !reader->ended)));
    return r;
}

static int check_header(const Reader *reader, size_t size, Error *error) {
    unsigned long long content = ZSTD_getFrameContentSize(reader->in, size);
    _cleanup_free_ char *why = NULL;
    if (content == ZSTD_CONTENTSIZE_ERROR)
        return refuse(error, "it does not begin as a zstd frame");
    if (content == reader->bytes)
        return 0;
    if (content == ZSTD_CONTENTSIZE_UNKNOWN)
        return refuse(error, "it does not say how much it holds");
    why = str_format("it holds %llu bytes, not %llu", content, (unsigned long long)reader->bytes);
    return refuse(error, why);
}

static int read_all(Reader *reader, Error *error) {
    uint64_t at = 0;
    for (;;) {
        ssize_t n = fd_pread_full(reader->from, reader->in, CHUNK_BYTES, at);
        int r;
        if (n < 0)
            return error_set_errno(error, (int)-n, "cannot read compressed memory");
        r = at == 0 ? check_header(reader, (size_t)n, error) : 0;
        if (r < 0)
            return r;
        if (n == 0)
            break;
        r = decompress(reader, (size_t)n, error);
        if (r < 0)
            return r;
        at += (uint64_t)n;
    }
    if (!reader->ended)
        return refuse(error, "it was cut");
    return reader->at == reader->bytes ? 0 : refuse(error, "it holds less than was saved");
}

int packed_read(int from, uint64_t bytes, int to, char sha256[SHA256_HEX_SIZE], Error *error) {
    _cleanup_(dctx_free_p) ZSTD_DCtx *zstd = ZSTD_createDCtx();
    _cleanup_(sha256_free_p) Sha256 *hash = sha256_new();
    _cleanup_free_ uint8_t *in = malloc(CHUNK_BYTES), *out = malloc(CHUNK_BYTES);
    Reader reader = {
        .zstd = zstd, .hash = hash, .from = from, .to = to, .bytes = bytes, .in = in, .out = out};
    int r;
    if (!zstd || !in || !out ||
        ZSTD_isError(ZSTD_DCtx_setParameter(zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "cannot prepare to decompress");
    if (to >= 0 && ftruncate(to, (off_t)bytes) < 0)
        return error_set_errno(error, errno, "cannot make room for decompressed memory");
    r = read_all(&reader, error);
    if (r >= 0)
        sha256_finish(hash, sha256);
    return r;
}
