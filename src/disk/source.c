/* SPDX-License-Identifier: Apache-2.0 */

/* A source: bytes of a file or pipe, read ahead and hashed by a thread of their own, and decoded by
 * the thread that asks for them.
 *
 *   fd ──reader thread: read, SHA-256──▶ ring of buffers ──▶ decoder ──▶ extract_source_read
 *
 * The beginning (up to 1 MiB) is read at once, and decoded once on the side to tell what it holds.
 * The reader thread starts with the first extract_source_read; it goes through the beginning, then
 * on from the descriptor. It waits with poll(2) on the descriptor, the caller's cancel_fd and an
 * eventfd by which extract_source_free ends it. Its error, if any, is set before the ring is
 * finished, and read after the ring's end was seen. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "disk/decode.h"
#include "disk/ring.h"
#include "disk/sniff.h"
#include "disk/source.h"

#define CHUNK_BYTES (256 * KIB) /* few and small: to be in the cache still when decoded */
#define CHUNKS 4

struct ExtractSource {
    int fd;        /* borrowed */
    int cancel_fd; /* borrowed */
    int stop_fd;   /* owned eventfd */
    bool regular;
    uint64_t total_bytes; /* 0: unknown */
    uint64_t done_bytes;  /* taken by the decoder */

    uint8_t *prefix; /* owned */
    size_t prefix_size;
    ExtractKind kind;
    ExtractCompression compression;

    Decoder *decoder; /* owned */
    Ring *ring;       /* owned; NULL until the reader runs */
    pthread_t reader;
    bool reader_runs;
    bool without_hash;
    Sha256 *hash;       /* owned; the reader's while it runs */
    Error reader_error; /* the reader's while it runs */

    const uint8_t *chunk; /* borrowed from the ring: what is left of the current buffer */
    size_t chunk_size;
    uint64_t chunk_number;
    bool chunk_held;
    bool ended;   /* all chunks are taken */
    bool decoded; /* the decoded stream has ended well */
};

/* ---- reading ---- */

/* Waits until fd can be read. A regular file always can. */
static int wait_readable(const ExtractSource *source, Error *error) {
    struct pollfd items[] = {{.fd = source->fd, .events = POLLIN},
                             {.fd = source->cancel_fd, .events = POLLIN | POLLRDHUP},
                             {.fd = source->stop_fd, .events = POLLIN}};
    for (;;) {
        if (poll(items, ARRAY_SIZE(items), -1) < 0) {
            if (errno == EINTR)
                continue;
            return error_set_errno(error, errno, "cannot wait for the source");
        }
        if (items[1].revents || items[2].revents)
            return error_set(error, ERROR_CANCELLED, ECANCELED, "reading the source was cancelled");
        if (items[0].revents)
            return 0;
    }
}

/* Reads until the buffer is full or the source ends. */
static ssize_t read_chunk(const ExtractSource *source, uint8_t *buffer, size_t size, Error *error) {
    size_t done = 0;
    ssize_t n;
    int r;
    while (done < size) {
        r = wait_readable(source, error);
        if (r < 0)
            return r;
        n = read(source->fd, buffer + done, size - done);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return error_set_errno(error, errno, "cannot read the source");
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* Gives the ring the next chunk. Returns its size, 0 at the end, or a negative errno. */
static ssize_t reader_step(ExtractSource *source, size_t *prefix_at) {
    uint8_t *buffer = ring_reserve(source->ring);
    ssize_t n;
    if (!buffer)
        return 0;
    if (*prefix_at < source->prefix_size) {
        n = (ssize_t)MIN_OF(source->prefix_size - *prefix_at, CHUNK_BYTES);
        memcpy(buffer, source->prefix + *prefix_at, (size_t)n);
        *prefix_at += (size_t)n;
    } else {
        n = read_chunk(source, buffer, CHUNK_BYTES, &source->reader_error);
    }
    if (n > 0) {
        if (!source->without_hash)
            sha256_update(source->hash, buffer, (size_t)n);
        ring_commit(source->ring, (size_t)n);
    }
    return n;
}

static void *reader_main(void *data) {
    ExtractSource *source = data;
    size_t prefix_at = 0;
    while (reader_step(source, &prefix_at) > 0)
        ;
    ring_finish(source->ring);
    return NULL;
}

static int start_reader(ExtractSource *source, Error *error) {
    int r;
    source->ring = ring_new(CHUNKS, CHUNK_BYTES);
    source->hash = sha256_new();
    source->decoder = decoder_new(source->compression);
    r = pthread_create(&source->reader, NULL, reader_main, source);
    if (r != 0)
        return error_set_errno(error, r, "cannot start a thread");
    source->reader_runs = true;
    return 0;
}

static void stop_reader(ExtractSource *source) {
    if (!source->reader_runs)
        return;
    ring_stop(source->ring);
    (void)eventfd_write(source->stop_fd, 1);
    pthread_join(source->reader, NULL);
    source->reader_runs = false;
}

/* ---- decoding ---- */

/* Makes chunk_size > 0, or ended. */
static int next_chunk(ExtractSource *source, Error *error) {
    if (source->chunk_size > 0 || source->ended)
        return 0;
    if (source->chunk_held)
        ring_release(source->ring, source->chunk_number);
    source->chunk = ring_acquire(source->ring, &source->chunk_size, &source->chunk_number);
    source->chunk_held = source->chunk != NULL;
    if (source->chunk) {
        source->done_bytes += source->chunk_size;
        return 0;
    }
    if (source->reader_error.kind != ERROR_NONE)
        return error_move(error, &source->reader_error);
    source->ended = true;
    return 0;
}

static int truncated(const ExtractSource *source, Error *error) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "truncated: the %s data ends too early",
                     extract_compression_name(source->compression));
}

ssize_t extract_source_read(ExtractSource *source, void *buffer, size_t size, Error *error) {
    DecodeBuffers buffers = {.out = buffer, .out_size = size};
    size_t out_before, in_before;
    int r = source->ring ? 0 : start_reader(source, error);
    while (r >= 0 && !source->decoded && buffers.out_size > 0) {
        r = next_chunk(source, error);
        if (r < 0)
            break;
        buffers.in = source->chunk;
        buffers.in_size = source->chunk_size;
        buffers.in_last = source->ended;
        out_before = buffers.out_size;
        in_before = buffers.in_size;
        r = decoder_step(source->decoder, &buffers, error);
        source->chunk = buffers.in;
        source->chunk_size = buffers.in_size;
        if (r < 0 || !source->ended || buffers.out_size < out_before || buffers.in_size < in_before)
            continue;
        if (!decoder_is_complete(source->decoder))
            r = truncated(source, error);
        source->decoded = true;
    }
    return r < 0 ? r : (ssize_t)(size - buffers.out_size);
}

void source_progress(const ExtractSource *source, uint64_t *done, uint64_t *total) {
    *done = source->done_bytes;
    *total = source->total_bytes;
}

void source_skip_hash(ExtractSource *source) {
    source->without_hash = true;
}

int source_seekable_fd(const ExtractSource *source) {
    bool at_start =
        source->total_bytes > 0 && lseek(source->fd, 0, SEEK_CUR) == (off_t)source->prefix_size;
    return source->regular && at_start && source->compression == EXTRACT_PLAIN ? source->fd : -1;
}

/* ---- digest ---- */

int sha256_check(const char *found, const char *expected, Error *error) {
    uint8_t bytes[SHA256_SIZE];
    _cleanup_free_ char *lower = NULL;
    if (!expected)
        return 0;
    if (strncasecmp(expected, "sha256:", 7) == 0)
        expected += 7;
    lower = str_copy(expected);
    for (char *p = lower; *p; p++)
        *p = *p >= 'A' && *p <= 'F' ? (char)(*p + 32) : *p;
    if (hex_decode(lower, bytes, sizeof(bytes)) < 0)
        return error_set(error, ERROR_USAGE, EINVAL, "a SHA-256 digest has 64 hexadecimal digits");
    if (!found || strcmp(found, lower) == 0)
        return 0;
    error_set(error, ERROR_CORRUPT, EBADMSG, "wrong digest: SHA-256 is %s, expected %s", found,
              lower);
    error_set_hint(error, "the file was damaged on its way or is another one: fetch it again");
    return -EBADMSG;
}

int extract_source_finish(ExtractSource *source, const char *expected_sha256,
                          char sha256[SHA256_HEX_SIZE], Error *error) {
    char hex[SHA256_HEX_SIZE];
    int r = source->ring ? 0 : start_reader(source, error);
    while (r >= 0 && !source->ended) {
        source->chunk_size = 0;
        r = next_chunk(source, error);
    }
    if (r < 0)
        return r;
    stop_reader(source);
    sha256_finish(source->hash, hex);
    if (source->without_hash)
        hex[0] = '\0';
    else
        r = sha256_check(hex, expected_sha256, error);
    if (r >= 0)
        memcpy(sha256, hex, sizeof(hex));
    return r;
}

/* ---- making ---- */

static int stat_source(ExtractSource *source, Error *error) {
    struct stat status;
    off_t at;
    if (fstat(source->fd, &status) < 0)
        return error_set_errno(error, errno, "cannot look at the source");
    if (S_ISDIR(status.st_mode))
        return error_set(error, ERROR_USAGE, EISDIR, "the source is a folder");
    source->regular = S_ISREG(status.st_mode);
    at = source->regular ? lseek(source->fd, 0, SEEK_CUR) : -1;
    if (at >= 0 && status.st_size > at)
        source->total_bytes = (uint64_t)(status.st_size - at);
    return 0;
}

int extract_source_new(int fd, int cancel_fd, ExtractSource **source, Error *error) {
    return extract_source_new_as(fd, cancel_fd, EXTRACT_ANY, source, error);
}

int extract_source_new_as(int fd, int cancel_fd, ExtractWanted wanted, ExtractSource **source,
                          Error *error) {
    _cleanup_(extract_source_free_p) ExtractSource *new = calloc(1, sizeof(*new));
    ssize_t n;
    int r;
    if (!new)
        abort();
    new->fd = fd;
    new->cancel_fd = cancel_fd;
    new->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (new->stop_fd < 0)
        return error_set_errno(error, errno, "cannot make an eventfd");
    r = stat_source(new, error);
    if (r < 0)
        return r;
    new->prefix = malloc(SNIFF_BYTES);
    if (!new->prefix)
        abort();
    n = read_chunk(new, new->prefix, SNIFF_BYTES, error);
    if (n < 0)
        return (int)n;
    new->prefix_size = (size_t)n;
    r = sniff_begin(new->prefix, new->prefix_size, wanted, &new->kind, &new->compression, error);
    if (r < 0)
        return r;
    *source = TAKE_PTR(new);
    return 0;
}

void extract_source_free(ExtractSource *source) {
    if (!source)
        return;
    stop_reader(source);
    ring_free(source->ring);
    decoder_free(source->decoder);
    if (source->hash)
        sha256_free(source->hash);
    error_clear(&source->reader_error);
    (void)fd_close(source->stop_fd);
    free(source->prefix);
    free(source);
}

ExtractKind extract_source_kind(const ExtractSource *source) {
    return source->kind;
}

ExtractCompression extract_source_compression(const ExtractSource *source) {
    return source->compression;
}

int extract_sniff(int fd, ExtractKind *kind, ExtractCompression *compression, Error *error) {
    _cleanup_(extract_source_free_p) ExtractSource *source = NULL;
    off_t at = lseek(fd, 0, SEEK_CUR);
    int r;
    if (at < 0)
        return error_set_errno(error, errno, "cannot look at a source that is no file");
    r = extract_source_new(fd, -1, &source, error);
    if (lseek(fd, at, SEEK_SET) < 0 && r >= 0)
        return error_set_errno(error, errno, "cannot go back in the source");
    if (r < 0)
        return r;
    *kind = source->kind;
    *compression = source->compression;
    return 0;
}
