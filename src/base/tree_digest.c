/* SPDX-License-Identifier: Apache-2.0 */

/* Each thread takes the next chunk that has data, in the order of the file, reads it into a buffer
 * of its own, hashes and visits its pages, and adds an entry. At the end the entries are brought
 * into order and hashed. */

#include "base/tree_digest.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parallel.h"
#include "base/str.h"

#define CHUNK_BYTES TREE_DIGEST_CHUNK_BYTES
#define PAGE_BYTES ((size_t)4096)
#define MAP_BYTES (CHUNK_BYTES / PAGE_BYTES / 8)
#define THREADS_DEFAULT_MAX 4 /* the more there are, the more likely others want the cores */

static const uint8_t LEAF = 0x00, ROOT = 0x01;

typedef struct Entry {
    uint64_t index;
    uint8_t leaf[SHA256_SIZE];
} Entry;

struct TreeDigest {
    pthread_mutex_t mutex; /* for all below */
    Entry *entries;        /* owned */
    size_t count, room;
};

typedef struct Walk {
    int fd; /* borrowed */
    uint64_t size;
    const TreeDigestOptions *options; /* borrowed */
    TreeDigest *tree;                 /* borrowed */
    pthread_mutex_t mutex;            /* for all below */
    uint64_t next;                    /* where the next chunk is looked for */
    int failure;                      /* the first one; nobody goes on after it */
} Walk;

/* ---- chunks ---- */

static bool claim_chunk(Walk *walk, uint64_t *offset) {
    uint64_t start, end;
    bool taken;
    (void)pthread_mutex_lock(&walk->mutex);
    if (fd_is_cancelled(walk->options->cancel_fd) && walk->failure == 0)
        walk->failure = -ECANCELED;
    fd_find_data(walk->fd, walk->next, walk->size, &start, &end);
    taken = walk->failure == 0 && start < walk->size;
    *offset = start - start % CHUNK_BYTES;
    walk->next = taken ? *offset + CHUNK_BYTES : walk->size;
    (void)pthread_mutex_unlock(&walk->mutex);
    return taken;
}

static int read_chunk(int fd, uint64_t offset, size_t size, uint8_t *chunk) {
    uint64_t end = offset + size, start, stop;
    memset(chunk, 0, size);
    for (uint64_t at = offset; at < end; at = stop) {
        ssize_t n;
        fd_find_data(fd, at, end, &start, &stop);
        n = fd_pread_full(fd, chunk + (start - offset), stop - start, start);
        if (n != (ssize_t)(stop - start))
            return n < 0 ? (int)n : -EIO;
    }
    return 0;
}

/* Returns whether any page is not all zero. */
static bool map_pages(const uint8_t *chunk, size_t size, uint8_t map[MAP_BYTES]) {
    bool any = false;
    memset(map, 0, MAP_BYTES);
    for (size_t at = 0, page = 0; at < size; at += PAGE_BYTES, page++) {
        if (bytes_are_zero(chunk + at, MIN_OF(PAGE_BYTES, size - at)))
            continue;
        map[page / 8] |= (uint8_t)(1u << page % 8);
        any = true;
    }
    return any;
}

static bool in_map(const uint8_t map[MAP_BYTES], size_t page) {
    return map[page / 8] & 1u << page % 8;
}

/* Hashes and visits the runs of pages that the map names. */
static int add_pages(uint64_t offset, const uint8_t *chunk, size_t size,
                     const uint8_t map[MAP_BYTES], Sha256 *hash, TreeDigestVisitor visit,
                     void *data) {
    size_t count = (size + PAGE_BYTES - 1) / PAGE_BYTES, end;
    int r = 0;
    for (size_t page = 0; r >= 0 && page < count; page = end) {
        size_t at = page * PAGE_BYTES, bytes;
        end = page + 1;
        if (!in_map(map, page))
            continue;
        while (end < count && in_map(map, end))
            end++;
        bytes = MIN_OF(end * PAGE_BYTES, size) - at;
        sha256_update(hash, chunk + at, bytes);
        if (visit)
            r = visit(data, offset + at, chunk + at, bytes);
    }
    return r;
}

static void add_entry(TreeDigest *tree, const Entry *entry) {
    (void)pthread_mutex_lock(&tree->mutex);
    if (tree->count == tree->room) {
        tree->room = tree->room ? 2 * tree->room : 256;
        tree->entries = reallocarray(tree->entries, tree->room, sizeof(*tree->entries));
        if (!tree->entries)
            abort();
    }
    tree->entries[tree->count++] = *entry;
    (void)pthread_mutex_unlock(&tree->mutex);
}

TreeDigest *tree_digest_new(void) {
    TreeDigest *tree = calloc(1, sizeof(*tree));
    if (!tree)
        abort();
    (void)pthread_mutex_init(&tree->mutex, NULL);
    return tree;
}

void tree_digest_free(TreeDigest *tree) {
    if (!tree)
        return;
    (void)pthread_mutex_destroy(&tree->mutex);
    free(tree->entries);
    free(tree);
}

int tree_digest_add(TreeDigest *tree, uint64_t index, const uint8_t *chunk, size_t size,
                    TreeDigestVisitor visit, void *data) {
    _cleanup_(sha256_free_p) Sha256 *hash = NULL;
    Entry entry = {.index = index};
    uint8_t map[MAP_BYTES];
    int r;
    if (!map_pages(chunk, size, map))
        return 0;
    hash = sha256_new();
    sha256_update(hash, &LEAF, sizeof(LEAF));
    sha256_update(hash, map, sizeof(map));
    r = add_pages(index * CHUNK_BYTES, chunk, size, map, hash, visit, data);
    if (r < 0)
        return r;
    sha256_finish_bytes(hash, entry.leaf);
    add_entry(tree, &entry);
    return 0;
}

static int do_chunk(Walk *walk, uint64_t offset, uint8_t *chunk) {
    size_t size = (size_t)MIN_OF(walk->size - offset, CHUNK_BYTES);
    int r = read_chunk(walk->fd, offset, size, chunk);
    return r < 0 ? r
                 : tree_digest_add(walk->tree, offset / CHUNK_BYTES, chunk, size,
                                   walk->options->visit, walk->options->data);
}

/* ---- threads ---- */

static void work(void *data) {
    _cleanup_free_ uint8_t *chunk = malloc(CHUNK_BYTES);
    Walk *walk = data;
    uint64_t offset;
    if (!chunk)
        abort();
    while (claim_chunk(walk, &offset)) {
        int r = do_chunk(walk, offset, chunk);
        if (r >= 0)
            continue;
        (void)pthread_mutex_lock(&walk->mutex);
        if (walk->failure == 0)
            walk->failure = r;
        (void)pthread_mutex_unlock(&walk->mutex);
    }
}

static size_t count_threads(const TreeDigestOptions *options) {
    return options->threads > 0 ? options->threads : parallel_threads(THREADS_DEFAULT_MAX);
}

/* ---- the root ---- */

static int compare_entries(const void *a, const void *b) {
    const Entry *left = a, *right = b;
    return left->index < right->index ? -1 : left->index > right->index;
}

static void add_number(Sha256 *hash, uint64_t number) {
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(number >> 8 * i);
    sha256_update(hash, bytes, sizeof(bytes));
}

void tree_digest_finish(TreeDigest *tree, uint64_t size_bytes, char digest[TREE_DIGEST_SIZE]) {
    _cleanup_(sha256_free_p) Sha256 *hash = sha256_new();
    char hex[SHA256_HEX_SIZE];
    if (tree->count > 0)
        qsort(tree->entries, tree->count, sizeof(*tree->entries), compare_entries);
    sha256_update(hash, &ROOT, sizeof(ROOT));
    add_number(hash, size_bytes);
    for (size_t i = 0; i < tree->count; i++) {
        add_number(hash, tree->entries[i].index);
        sha256_update(hash, tree->entries[i].leaf, SHA256_SIZE);
    }
    sha256_finish(hash, hex);
    (void)snprintf(digest, TREE_DIGEST_SIZE, TREE_DIGEST_PREFIX "%s", hex);
}

int tree_digest_file(int fd, const TreeDigestOptions *options, char digest[TREE_DIGEST_SIZE],
                     Error *error) {
    _cleanup_(tree_digest_free_p) TreeDigest *tree = tree_digest_new();
    Walk walk = {.fd = fd, .options = options, .tree = tree, .mutex = PTHREAD_MUTEX_INITIALIZER};
    off_t size = lseek(fd, 0, SEEK_END);
    if (size < 0)
        return error_set_errno(error, errno, "cannot find the size of the file");
    walk.size = (uint64_t)size;
    parallel_run(count_threads(options), work, &walk);
    if (walk.failure == -ECANCELED)
        return error_set(error, ERROR_CANCELLED, ECANCELED, "reading the file was cancelled");
    if (walk.failure < 0)
        return error_set_errno(error, -walk.failure, "cannot read the file");
    tree_digest_finish(tree, walk.size, digest);
    return 0;
}

/* ---- with the SHA-256 of the whole ---- */

#define ZEROES_BYTES (16 * MIB) /* between two looks at cancel_fd */

typedef struct Flat {
    Sha256 *hash; /* owned */
    uint64_t at;  /* what is before it is hashed */
    int cancel_fd;
} Flat;

static int flat_add_zeroes(Flat *flat, uint64_t end) {
    while (flat->at < end) {
        uint64_t part = MIN_OF(end - flat->at, ZEROES_BYTES);
        if (fd_is_cancelled(flat->cancel_fd))
            return -ECANCELED;
        sha256_update_zeroes(flat->hash, part);
        flat->at += part;
    }
    return 0;
}

static int flat_visit(void *data, uint64_t offset, const uint8_t *bytes, size_t size) {
    Flat *flat = data;
    int r = flat_add_zeroes(flat, offset);
    if (r < 0)
        return r;
    sha256_update(flat->hash, bytes, size);
    flat->at += size;
    return 0;
}

int tree_digest_and_sha256(int fd, int cancel_fd, char digest[TREE_DIGEST_SIZE],
                           char sha256[SHA256_HEX_SIZE], Error *error) {
    _cleanup_(sha256_free_p) Sha256 *hash = sha256_new();
    Flat flat = {.hash = hash, .cancel_fd = cancel_fd};
    const TreeDigestOptions options = {
        .cancel_fd = cancel_fd, .threads = 1, .visit = flat_visit, .data = &flat};
    char tree[TREE_DIGEST_SIZE];
    off_t size = lseek(fd, 0, SEEK_END);
    int r;
    if (size < 0)
        return error_set_errno(error, errno, "cannot find the size of the file");
    r = tree_digest_file(fd, &options, tree, error);
    if (r < 0)
        return r;
    if (flat_add_zeroes(&flat, (uint64_t)size) < 0)
        return error_set(error, ERROR_CANCELLED, ECANCELED, "reading the file was cancelled");
    sha256_finish(hash, sha256);
    memcpy(digest, tree, sizeof(tree));
    return 0;
}
