/* SPDX-License-Identifier: Apache-2.0 */

/* Extraction as a pipeline of threads, with bounded rings of buffers between them:
 *
 *   source's reader ──▶ caller: decodes, finds disk.img in a tar ──▶ writers, a share of the cores
 *
 * A writer takes the next chunk of 1 MiB, hashes and writes the pages that are not all zero, and
 * starts writeback, so that little is left to wait for at the end. Decoding is one thread's work
 * and bounds it all. The first failure of any thread is kept, stops the ring, and so ends all.
 *
 * qcow2, VMDK and VHDX do not stream: they are spooled to an unlinked scratch file unless the
 * source is a plain file, then converted. */

#include "disk/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "base/tree_digest.h"
#include "disk/convert.h"
#include "disk/publish.h"
#include "disk/ring.h"
#include "disk/sniff.h"
#include "disk/source.h"
#include "disk/sparse.h"
#include "disk/tar.h"

#define SLOT_BYTES TREE_DIGEST_CHUNK_BYTES
#define SPARE_SLOTS 2 /* few: what was decoded is to be in the processor's cache still */
#define WRITEBACK_SLOTS 8
#define WRITE_BYTES (32 * KIB) /* more makes larger folios, which a virtual host pays for */
#define WRITERS_MAX 4          /* the more there are, the more likely others want the cores */
#define PROGRESS_USEC (100 * USEC_PER_MSEC)
#define DEFAULT_MAX_BYTES ((uint64_t)64 << 30)

typedef struct Pipeline {
    const ExtractOptions *options; /* borrowed */
    Ring *ring;                    /* borrowed */
    int fd;                        /* borrowed: the output */
    TreeDigest *tree;              /* borrowed; NULL: no digest */
    unsigned n_writers;            /* as many as there are to be */
    uint64_t max_bytes;
    uint64_t total_bytes;   /* the caller's: produced so far */
    uint64_t progress_usec; /* when progress was last told */

    pthread_mutex_t mutex; /* guards error */
    Error error;           /* the first failure */
} Pipeline;

static atomic_uint pipelines; /* those under way in this process */

/* Reads up to `size` bytes of content; short only at the end. */
typedef ssize_t (*ContentReader)(void *data, void *buffer, size_t size, Error *error);

/* ---- threads ---- */

static void pipeline_fail(Pipeline *pipeline, Error *failure) {
    pthread_mutex_lock(&pipeline->mutex);
    if (pipeline->error.kind == ERROR_NONE)
        error_move(&pipeline->error, failure);
    else
        error_clear(failure);
    pthread_mutex_unlock(&pipeline->mutex);
    ring_stop(pipeline->ring);
}

static void write_failure(int r, Error *error) {
    error_set_errno(error, -r, "cannot write the extracted disk");
    if (r == -ENOSPC || r == -EDQUOT)
        error_set_hint(error,
                       "free some room (ramet prune), or set RAMET_HOME to a larger file system");
}

static int write_pages(void *data, uint64_t offset, const uint8_t *bytes, size_t size) {
    const Pipeline *pipeline = data;
    int r = 0;
    for (size_t part, at = 0; r >= 0 && at < size; at += part) {
        part = MIN_OF(size - at, WRITE_BYTES);
        r = fd_pwrite_full(pipeline->fd, bytes + at, part, offset + at);
    }
    return r;
}

static int write_slot(Pipeline *pipeline, uint64_t number, const uint8_t *data, size_t size) {
    uint64_t at = number * SLOT_BYTES, from = (number / WRITEBACK_SLOTS) * WRITEBACK_SLOTS;
    int r = pipeline->tree
                ? tree_digest_add(pipeline->tree, number, data, size, write_pages, pipeline)
                : sparse_write(pipeline->fd, data, size, at, NULL);
    if (r >= 0 && number % WRITEBACK_SLOTS == WRITEBACK_SLOTS - 1)
        (void)sync_file_range(pipeline->fd, (off_t)(from * SLOT_BYTES),
                              (off_t)(WRITEBACK_SLOTS * SLOT_BYTES), SYNC_FILE_RANGE_WRITE);
    return r;
}

static void *writer_main(void *data) {
    Pipeline *pipeline = data;
    const uint8_t *bytes;
    uint64_t number;
    size_t size;
    int r = 0;
    while (r >= 0 && (bytes = ring_acquire(pipeline->ring, &size, &number))) {
        r = write_slot(pipeline, number, bytes, size);
        ring_release(pipeline->ring, number);
    }
    if (r < 0) {
        Error failure = ERROR_INIT;
        write_failure(r, &failure);
        pipeline_fail(pipeline, &failure);
    }
    return NULL;
}

/* A share of the cores: two writers of one file that have to wait for a core would spin on the
 * file's lock. */
static unsigned count_writers(void) {
    long share = sysconf(_SC_NPROCESSORS_ONLN) / (long)atomic_load(&pipelines);
    return (unsigned)MAX_OF(MIN_OF(share, (long)WRITERS_MAX), 1L);
}

/* Returns how many there are. */
static unsigned start_writers(Pipeline *pipeline, pthread_t writers[WRITERS_MAX]) {
    unsigned count = 0;
    while (count < pipeline->n_writers &&
           pthread_create(&writers[count], NULL, writer_main, pipeline) == 0)
        count++;
    return count;
}

/* ---- the caller's thread ---- */

static int check_cancel(int cancel_fd, Error *error) {
    struct pollfd item = {.fd = cancel_fd, .events = POLLIN | POLLRDHUP};
    if (cancel_fd >= 0 && poll(&item, 1, 0) > 0)
        return error_set(error, ERROR_CANCELLED, ECANCELED, "extraction was cancelled");
    return 0;
}

static void tell_progress(Pipeline *pipeline, bool always) {
    const ExtractOptions *options = pipeline->options;
    uint64_t now = clock_monotonic_usec(), done, total;
    if (!options->progress || (!always && now - pipeline->progress_usec < PROGRESS_USEC))
        return;
    pipeline->progress_usec = now;
    source_progress(options->source, &done, &total);
    options->progress(options->progress_data, done, total);
}

static int too_large(uint64_t max_bytes, Error *error) {
    _cleanup_free_ char *size = format_size(max_bytes);
    error_set(error, ERROR_CORRUPT, EFBIG, "the disk is larger than the %s allowed", size);
    error_set_hint(error,
                   "is it what it should be? A disk may be as large as the free room, or 64 GiB");
    return -EFBIG;
}

/* Reads all content into the ring. A stopped ring ends it without an error of its own. */
static int produce(Pipeline *pipeline, ContentReader reader, void *data, Error *error) {
    uint8_t *buffer;
    ssize_t n;
    int r;
    while ((buffer = ring_reserve(pipeline->ring))) {
        n = reader(data, buffer, SLOT_BYTES, error);
        if (n <= 0)
            return (int)n;
        pipeline->total_bytes += (uint64_t)n;
        if (pipeline->total_bytes > pipeline->max_bytes)
            return too_large(pipeline->max_bytes, error);
        ring_commit(pipeline->ring, (size_t)n);
        tell_progress(pipeline, false);
        r = check_cancel(pipeline->options->cancel_fd, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int run_threads(Pipeline *pipeline, ContentReader reader, void *data) {
    pthread_t writers[WRITERS_MAX];
    Error failure = ERROR_INIT;
    unsigned count = start_writers(pipeline, writers);
    int r = count > 0 ? produce(pipeline, reader, data, &failure)
                      : error_set(&failure, ERROR_NO_MEMORY, EAGAIN, "cannot start a thread");
    if (r < 0)
        pipeline_fail(pipeline, &failure);
    ring_finish(pipeline->ring);
    while (count > 0)
        pthread_join(writers[--count], NULL);
    return pipeline->error.kind == ERROR_NONE ? 0 : -pipeline->error.errnum;
}

static int make_durable(int fd, uint64_t size, Error *error) {
    if (ftruncate(fd, (off_t)size) == 0 && fdatasync(fd) == 0)
        return 0;
    int r = -errno;
    write_failure(r, error);
    return r;
}

/* Runs the content through the pipeline into fd. digest may be NULL: not hashed. */
static int pipe_content(const ExtractOptions *options, int fd, uint64_t max_bytes,
                        ContentReader reader, void *data, char *digest, uint64_t *bytes,
                        Error *error) {
    _cleanup_(tree_digest_free_p) TreeDigest *tree = digest ? tree_digest_new() : NULL;
    (void)atomic_fetch_add(&pipelines, 1);
    unsigned writers = count_writers();
    _cleanup_(ring_free_p) Ring *ring = ring_new(writers + SPARE_SLOTS, SLOT_BYTES);
    Pipeline pipeline = {.n_writers = writers,
                         .options = options,
                         .fd = fd,
                         .max_bytes = max_bytes,
                         .ring = ring,
                         .tree = tree,
                         .mutex = PTHREAD_MUTEX_INITIALIZER};
    int r = run_threads(&pipeline, reader, data);
    (void)atomic_fetch_sub(&pipelines, 1);
    if (r < 0)
        return error_move(error, &pipeline.error);
    tell_progress(&pipeline, true);
    if (digest)
        tree_digest_finish(tree, pipeline.total_bytes, digest);
    *bytes = pipeline.total_bytes;
    return make_durable(fd, pipeline.total_bytes, error);
}

static ssize_t read_source(void *data, void *buffer, size_t size, Error *error) {
    return extract_source_read(data, buffer, size, error);
}

/* ---- kinds ---- */

static int extract_raw(const ExtractOptions *options, uint64_t max_bytes, ExtractResult *result,
                       Error *error) {
    int r = pipe_content(options, options->output_fd, max_bytes, read_source, options->source,
                         result->digest, &result->virtual_bytes, error);
    return r < 0 ? r
                 : extract_source_finish(options->source, options->expected_sha256,
                                         result->source_sha256, error);
}

static ssize_t read_entry(void *data, void *buffer, size_t size, Error *error) {
    TarReader *reader = data;
    size_t done = 0;
    la_ssize_t n;
    while (done < size) {
        n = archive_read_data(reader->archive, (uint8_t *)buffer + done, size - done);
        if (n < 0)
            return tar_reader_error(reader, error);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static int find_disk(TarReader *reader, struct archive_entry **entry, Error *error) {
    int r;
    do
        r = tar_reader_next(reader, entry, error);
    while (r > 0 && !tar_entry_is_disk(*entry));
    return r;
}

/* What follows disk.img must be whole, and not a second one. */
static int finish_tar(TarReader *reader, Error *error) {
    struct archive_entry *entry;
    int r = find_disk(reader, &entry, error);
    if (r > 0)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "the tar holds more than one disk.img");
    return r < 0 ? r : tar_reader_drain(reader, error);
}

static int extract_tar(const ExtractOptions *options, uint64_t max_bytes, ExtractResult *result,
                       Error *error) {
    _cleanup_(tar_reader_close) TarReader reader = {0};
    struct archive_entry *entry;
    int r;
    r = tar_reader_open(&reader, options->source, error);
    if (r >= 0)
        r = find_disk(&reader, &entry, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_CORRUPT, ENOENT, "the tar holds no disk.img");
    if (archive_entry_size(entry) > 0 && (uint64_t)archive_entry_size(entry) > max_bytes)
        return too_large(max_bytes, error);
    r = pipe_content(options, options->output_fd, max_bytes, read_entry, &reader, result->digest,
                     &result->virtual_bytes, error);
    if (r >= 0)
        r = finish_tar(&reader, error);
    if (r < 0)
        return r;
    return extract_source_finish(options->source, options->expected_sha256, result->source_sha256,
                                 error);
}

/* An unlinked file in the scratch folder: gone with its descriptor, whatever happens. */
static int open_spool(const char *folder, int *fd, Error *error) {
    _cleanup_free_ char *name = scratch_name("spool"), *path = NULL;
    if (!folder)
        return error_set(error, ERROR_USAGE, EINVAL, "no scratch folder is given");
    path = path_join(folder, name);
    *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*fd < 0)
        return error_set_errno(error, errno, "cannot make scratch in %s", folder);
    (void)unlink(path);
    return 0;
}

static int extract_image(const ExtractOptions *options, uint64_t max_bytes, ExtractResult *result,
                         Error *error) {
    _cleanup_close_ int spool = -1;
    int fd = source_seekable_fd(options->source), r = 0;
    const TreeDigestOptions hashing = {.cancel_fd = options->cancel_fd};
    uint64_t spooled;
    struct stat status;
    if (fd < 0) {
        r = open_spool(options->scratch_folder, &spool, error);
        if (r >= 0)
            r = pipe_content(options, spool, max_bytes, read_source, options->source, NULL,
                             &spooled, error);
        fd = spool;
    }
    if (r >= 0)
        r = extract_source_finish(options->source, options->expected_sha256, result->source_sha256,
                                  error);
    if (r >= 0)
        r = convert_image(extract_source_kind(options->source), fd, options->output_fd, max_bytes,
                          options->cancel_fd, error);
    if (r < 0)
        return r;
    if (fdatasync(options->output_fd) < 0 || fstat(options->output_fd, &status) < 0)
        return error_set_errno(error, errno, "cannot make the extracted disk durable");
    result->virtual_bytes = (uint64_t)status.st_size;
    return tree_digest_file(options->output_fd, &hashing, result->digest, error);
}

/* ---- the way in ---- */

static int check_output(int fd, Error *error) {
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set_errno(error, errno, "cannot look at the file to extract to");
    if (!S_ISREG(status.st_mode) || status.st_size != 0)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "the file to extract to is not an empty regular file");
    return 0;
}

static int bound_bytes(const ExtractOptions *options, uint64_t *max_bytes, Error *error) {
    struct statvfs status;
    if (options->max_bytes > 0) {
        *max_bytes = options->max_bytes;
        return 0;
    }
    if (fstatvfs(options->output_fd, &status) < 0)
        return error_set_errno(error, errno, "cannot look at the file system");
    *max_bytes = MAX_OF((uint64_t)status.f_bavail * status.f_frsize, DEFAULT_MAX_BYTES);
    return 0;
}

static int check_result(int fd, ExtractResult *result, Error *error) {
    struct stat status;
    if (result->virtual_bytes == 0)
        return error_set(error, ERROR_CORRUPT, ENODATA, "the disk is empty");
    if (result->virtual_bytes % 512 != 0)
        return error_set(
            error, ERROR_CORRUPT, EBADMSG,
            "the disk has %llu bytes, not a multiple of 512: it is cut off, or no disk at all",
            (unsigned long long)result->virtual_bytes);
    if (fstat(fd, &status) < 0)
        return error_set_errno(error, errno, "cannot look at the extracted disk");
    result->allocated_bytes = (uint64_t)status.st_blocks * 512;
    return 0;
}

int extract_disk(const ExtractOptions *options, ExtractResult *result, Error *error) {
    ExtractResult made = {0};
    ExtractKind kind = extract_source_kind(options->source);
    uint64_t max_bytes = 0;
    int r;
    r = check_output(options->output_fd, error);
    if (r >= 0)
        r = sha256_check(NULL, options->expected_sha256, error);
    if (r >= 0)
        r = bound_bytes(options, &max_bytes, error);
    if (r < 0)
        return r;
    if (!options->expected_sha256)
        source_skip_hash(options->source);
    if (kind == EXTRACT_TAR_ROOTFS)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "the tar holds a root file system, not disk.img");
    if (kind == EXTRACT_QCOW2 || kind == EXTRACT_VMDK || kind == EXTRACT_VHDX)
        r = extract_image(options, max_bytes, &made, error);
    else if (kind == EXTRACT_TAR_DISK)
        r = extract_tar(options, max_bytes, &made, error);
    else
        r = extract_raw(options, max_bytes, &made, error);
    if (r >= 0)
        r = check_result(options->output_fd, &made, error);
    if (r < 0)
        return r;
    *result = made;
    return 0;
}
