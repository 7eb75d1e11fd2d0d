/* SPDX-License-Identifier: Apache-2.0 */

#include "archive/archive_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parallel.h"

#define CHUNK TREE_DIGEST_CHUNK_BYTES
#define THREADS_MAX 16

void archive_file_free(ArchiveFile *file) {
    (void)fd_close(file->fd);
    for (size_t i = 0; i < file->n_parts; i++)
        free(file->parts[i].path);
    free(file->parts);
    free(file->head);
    *file = ARCHIVE_FILE_INIT;
}

int archive_file_of_fd(ArchiveFile *file, int fd, Error *error) {
    struct stat info;
    *file = (ArchiveFile){.fd = fd};
    if (fstat(fd, &info) < 0)
        return error_set_errno(error, errno, "cannot look at a file");
    file->bytes = (uint64_t)info.st_size;
    return 0;
}

void archive_file_add(ArchiveFile *file, const char *path, uint64_t bytes) {
    file->parts = reallocarray(file->parts, file->n_parts + 1, sizeof(*file->parts));
    if (!file->parts)
        abort();
    file->parts[file->n_parts++] =
        (ArchivePart){.path = str_copy(path), .start = file->bytes, .bytes = bytes};
    file->bytes += bytes;
}

size_t archive_file_chunk_bytes(const ArchiveFile *file, uint64_t index) {
    return (size_t)MIN_OF(CHUNK, file->bytes - index * CHUNK);
}

uint64_t archive_file_next(const ArchiveFile *file, uint64_t index) {
    uint64_t start = index * CHUNK, end;
    if (start >= file->bytes)
        return UINT64_MAX;
    if (file->n_parts > 0)
        return index;
    fd_find_data(file->fd, start, file->bytes, &start, &end);
    return start >= file->bytes ? UINT64_MAX : start / CHUNK;
}

/* ---- parts ---- */

/* The last one that begins at or before the offset. */
static size_t find_part(const ArchiveFile *file, uint64_t offset) {
    size_t low = 0, high = file->n_parts;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (file->parts[middle].start <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Calls `each` for the piece of each part that the range touches. */
typedef int (*PartVisitor)(int fd, uint64_t at, uint8_t *bytes, size_t size);

static int each_part(const ArchiveFile *file, uint64_t offset, uint8_t *bytes, size_t size,
                     int flags, PartVisitor visit) {
    size_t i = find_part(file, offset);
    int r = 0;
    for (; r >= 0 && size > 0; i++) {
        const ArchivePart *part = &file->parts[i];
        uint64_t at = offset - part->start;
        size_t piece = (size_t)MIN_OF((uint64_t)size, part->bytes - at);
        _cleanup_close_ int fd = -1;
        if (piece == 0)
            continue;
        fd = openat(file->fd, part->path, flags | O_CLOEXEC | O_NOFOLLOW);
        r = fd < 0 ? -errno : visit(fd, at, bytes, piece);
        offset += piece;
        bytes += piece;
        size -= piece;
    }
    return r;
}

static int read_piece(int fd, uint64_t at, uint8_t *bytes, size_t size) {
    ssize_t n = fd_pread_full(fd, bytes, size, at);
    return n == (ssize_t)size ? 0 : n < 0 ? (int)n : -EIO;
}

static int write_piece(int fd, uint64_t at, uint8_t *bytes, size_t size) {
    return fd_pwrite_full(fd, bytes, size, at);
}

int archive_file_read(const ArchiveFile *file, uint64_t index, uint8_t *chunk, Error *error) {
    size_t size = archive_file_chunk_bytes(file, index);
    int r = file->n_parts > 0 ? each_part(file, index * CHUNK, chunk, size, O_RDONLY, read_piece)
                              : read_piece(file->fd, index * CHUNK, chunk, size);
    if (index == 0 && file->head)
        memcpy(chunk, file->head, MIN_OF(size, file->head_bytes));
    return r < 0 ? error_set_errno(error, -r, "cannot read what is to go out") : 0;
}

int archive_file_write(const ArchiveFile *file, uint64_t offset, const uint8_t *bytes,
                       size_t size) {
    uint8_t *data = (uint8_t *)(uintptr_t)bytes;
    return file->n_parts > 0 ? each_part(file, offset, data, size, O_WRONLY, write_piece)
                             : fd_pwrite_full(file->fd, bytes, size, offset);
}

static int make_part(int folder_fd, const ArchivePart *part) {
    _cleanup_free_ char *path = str_copy(part->path);
    _cleanup_close_ int fd = -1;
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdirat(folder_fd, path, 0755) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    fd = openat(folder_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    return fd < 0 || ftruncate(fd, (off_t)part->bytes) < 0 ? -errno : 0;
}

int archive_file_make(const ArchiveFile *file, Error *error) {
    int r = 0;
    if (file->n_parts == 0 && ftruncate(file->fd, (off_t)file->bytes) < 0)
        return error_set_errno(error, errno, "cannot set a file's size");
    for (size_t i = 0; r >= 0 && i < file->n_parts; i++)
        r = make_part(file->fd, &file->parts[i]);
    return r < 0 ? error_set_errno(error, -r, "cannot make a file of the archive") : 0;
}

/* ---- the digest ---- */

typedef struct Digesting {
    const ArchiveFile *file; /* borrowed */
    TreeDigest *tree;        /* owned */
    pthread_mutex_t mutex;
    uint64_t next;
    int cancel_fd, result;
    Error error;
} Digesting;

static uint64_t take(Digesting *digesting) {
    uint64_t index;
    (void)pthread_mutex_lock(&digesting->mutex);
    index =
        digesting->result < 0 ? UINT64_MAX : archive_file_next(digesting->file, digesting->next);
    digesting->next = index == UINT64_MAX ? index : index + 1;
    if (digesting->next == UINT64_MAX)
        digesting->next = digesting->file->bytes / CHUNK + 1;
    (void)pthread_mutex_unlock(&digesting->mutex);
    return index;
}

static void fail(Digesting *digesting, Error *error) {
    (void)pthread_mutex_lock(&digesting->mutex);
    if (digesting->result >= 0)
        digesting->result = error_move(&digesting->error, error);
    (void)pthread_mutex_unlock(&digesting->mutex);
}

static void digest_chunks(void *data) {
    Digesting *digesting = data;
    _cleanup_free_ uint8_t *chunk = malloc(CHUNK);
    _cleanup_error_ Error error = ERROR_INIT;
    uint64_t index;
    int r = 0;
    if (!chunk)
        abort();
    while (r >= 0 && (index = take(digesting)) != UINT64_MAX) {
        r = fd_is_cancelled(digesting->cancel_fd)
                ? error_set(&error, ERROR_CANCELLED, ECANCELED, "cancelled")
                : archive_file_read(digesting->file, index, chunk, &error);
        if (r >= 0)
            r = tree_digest_add(digesting->tree, index, chunk,
                                archive_file_chunk_bytes(digesting->file, index), NULL, NULL);
    }
    if (r < 0)
        fail(digesting, &error);
}

int archive_file_digest(const ArchiveFile *file, int cancel_fd, char digest[TREE_DIGEST_SIZE],
                        Error *error) {
    _cleanup_(tree_digest_free_p) TreeDigest *tree = tree_digest_new();
    Digesting digesting = {
        .file = file, .tree = tree, .mutex = PTHREAD_MUTEX_INITIALIZER, .cancel_fd = cancel_fd};
    parallel_run(parallel_threads(THREADS_MAX), digest_chunks, &digesting);
    if (digesting.result < 0)
        return error_move(error, &digesting.error);
    tree_digest_finish(tree, file->bytes, digest);
    return 0;
}
