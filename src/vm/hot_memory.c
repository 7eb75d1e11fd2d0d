/* SPDX-License-Identifier: Apache-2.0 */

/* The memory base that clones map.
 *
 * Nobody may be able to write to a base. Where QEMU has readonly=on,rom=off, clones map the
 * snapshot's own file, 0444. An older QEMU opens its memory read-write even for a private mapping;
 * there the base is copied once into a memfd that is then sealed against writing, and all clones
 * map that one memfd ("hot memory").
 *
 * Hot memory is filled when a snapshot is taken, since its base is read and hashed then anyway; but
 * not when nobody is likely to fork it soon (standby) or when others would have to go for it. Else
 * it is filled at first use, by one thread while others wait, and its content is hashed on the way,
 * so that a base that was changed on disk is refused before the first clone sees it. A compressed
 * base becomes hot memory with any QEMU. It has a budget; what was used least recently goes first
 * (clones that map it keep it alive for themselves). When the daemon ends the memfd lives on in the
 * memory holder (hot_holder.c) and in the clones, and the next daemon takes it back from one of
 * them: a memfd of that name, sealed, with the right digest, is the base, whoever holds it. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "memory/seal.h"
#include "proto/holder.h"
#include "vm/packed.h"
#include "vm/snapshot_internal.h"

#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static HotMemory *find(Ramet *ramet, const char *id) {
    for (HotMemory *hot = ramet->hot; hot; hot = hot->next)
        if (str_equal(hot->id, id))
            return hot;
    return NULL;
}

static void forget(Ramet *ramet, HotMemory *hot) {
    HotMemory **link = &ramet->hot;

    while (*link != hot)
        link = &(*link)->next;
    *link = hot->next;
    (void)fd_close(hot->fd);
    free(hot);
}

/* The holder's as well. */
static void drop(Ramet *ramet, HotMemory *hot) {
    char id[VM_ID_SIZE];

    (void)snprintf(id, sizeof(id), "%s", hot->id);
    forget(ramet, hot);
    hot_holder_drop(ramet, id);
}

/* --- filling -----------------------------------------------------------------------------------
 */

static char *memfd_name(const char *id) {
    return str_format("ramet-mem-%s", id);
}

typedef struct Wanted {
    const SnapshotRow *owner; /* borrowed */
    int file;                 /* borrowed */
    bool packed;              /* the file is compressed */
    uint64_t bytes;
    uint64_t data_bytes; /* without holes */
    const char *digest;  /* borrowed: of the memory */
} Wanted;

int hot_memory_copy(void *data, uint64_t offset, const uint8_t *bytes, size_t size) {
    const int *memfd = data;

    return fd_pwrite_full(*memfd, bytes, size, offset);
}

/* The digest that is recorded is the SHA-256 where an earlier version saved it. */
static int copy_and_hash(const Wanted *wanted, int memfd, char found[FROZEN_DIGEST_SIZE],
                         Error *error) {
    const TreeDigestOptions options = {.cancel_fd = -1, .visit = hot_memory_copy, .data = &memfd};
    int r = ftruncate(memfd, (off_t)wanted->bytes) < 0
                ? error_set_errno(error, errno, "cannot make a memfd that large")
                : tree_digest_file(wanted->file, &options, found, error);

    return r < 0 || frozen_digest_is_tree(wanted->digest) ? r : sha256_file(memfd, found, error);
}

static int fill(const Wanted *wanted, Error *error) {
    const char *id = wanted->owner->id;
    _cleanup_free_ char *name = memfd_name(id);
    _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    char found[FROZEN_DIGEST_SIZE];
    int r;

    if (fd < 0)
        return error_set_errno(error, errno, "cannot make a memfd");
    r = wanted->packed ? packed_read(wanted->file, wanted->bytes, fd, found, error)
                       : copy_and_hash(wanted, fd, found, error);
    if (r < 0)
        return error_add_context(error, "cannot fill hot memory of snapshot %s", id);
    if (!str_equal(found, wanted->digest))
        return error_set(error, ERROR_CORRUPT, EBADMSG,
                         "the memory of snapshot %s is not what was saved: its SHA-256 differs",
                         id);
    if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
        return error_set_errno(error, errno, "cannot seal hot memory");
    return TAKE_FD(fd);
}

/* --- the budget --------------------------------------------------------------------------------
 */

static uint64_t allocated(int fd) {
    struct stat info;

    return fstat(fd, &info) < 0 ? 0 : (uint64_t)info.st_blocks * 512;
}

static HotMemory *least_recent(Ramet *ramet) {
    HotMemory *oldest = NULL;

    for (HotMemory *hot = ramet->hot; hot; hot = hot->next)
        if (!hot->filling && (!oldest || hot->used_usec < oldest->used_usec))
            oldest = hot;
    return oldest;
}

static uint64_t sum_bytes(Ramet *ramet) {
    uint64_t sum = 0;

    for (HotMemory *hot = ramet->hot; hot; hot = hot->next)
        sum += hot->filling ? 0 : hot->bytes;
    return sum;
}

/* Lets go of what was used least recently. */
static bool make_room(Ramet *ramet, uint64_t wanted) {
    for (;;) {
        uint64_t sum = sum_bytes(ramet);
        HotMemory *oldest = least_recent(ramet);

        if (sum + wanted <= ramet->hot_budget_bytes || !oldest)
            return sum + wanted <= ramet->hot_budget_bytes;
        drop(ramet, oldest);
    }
}

static int check_room(Ramet *ramet, uint64_t wanted, Error *error) {
    if (make_room(ramet, wanted))
        return 0;
    error_set(error, ERROR_NO_MEMORY, ENOMEM,
              "the snapshot's memory (%llu MiB) is more than the budget for hot memory (%llu MiB)",
              (unsigned long long)(wanted / MIB),
              (unsigned long long)(ramet->hot_budget_bytes / MIB));
    error_set_hint(error, "raise RAMET_HOT_MEMORY, or use a QEMU from 8.2 on, which needs none");
    return -ENOMEM;
}

/* --- filling it with a new base ----------------------------------------------------------------
 */

/* A half of the budget is left to what is forked for certain. */
static bool has_room(Ramet *ramet, uint64_t wanted, bool certain) {
    return sum_bytes(ramet) + wanted <= ramet->hot_budget_bytes / (certain ? 1 : 2);
}

static bool is_needed(Ramet *ramet) {
    QemuFeatures features = {0};
    const char *accel;
    bool needed = host_probe(ramet, &features, &accel, NULL) >= 0 && !features.memory_rom;

    qemu_features_free(&features);
    return needed;
}

int hot_memory_begin(Ramet *ramet, const char *id, int base_fd, bool certain) {
    _cleanup_free_ char *name = memfd_name(id);
    _cleanup_close_ int fd = -1;
    struct stat info;
    bool room;

    if (!is_needed(ramet))
        return -1;
    (void)pthread_mutex_lock(&ramet->hot_mutex);
    room = has_room(ramet, allocated(base_fd), certain);
    (void)pthread_mutex_unlock(&ramet->hot_mutex);
    fd = room ? memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
    if (fd < 0 || fstat(base_fd, &info) < 0 || ftruncate(fd, info.st_size) < 0)
        return -1;
    return TAKE_FD(fd);
}

void hot_memory_keep(Ramet *ramet, const char *id, int memfd, bool certain) {
    _cleanup_close_ int fd = memfd;
    uint64_t bytes;
    HotMemory *hot;

    if (fd < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
        return;
    bytes = allocated(fd);
    (void)pthread_mutex_lock(&ramet->hot_mutex);
    if (has_room(ramet, bytes, certain)) { /* others may have come meanwhile */
        hot = calloc(1, sizeof(*hot));
        if (!hot)
            abort();
        *hot = (HotMemory){.fd = TAKE_FD(fd),
                           .bytes = bytes,
                           .used_usec = clock_monotonic_usec(),
                           .next = ramet->hot};
        (void)snprintf(hot->id, sizeof(hot->id), "%s", id);
        ramet->hot = hot;
        hot_holder_put(ramet, hot);
        hot->touched_usec = 0; /* the holder hears of its first use at once */
    }
    (void)pthread_mutex_unlock(&ramet->hot_mutex);
}

/* --- taking it back from a clone ---------------------------------------------------------------
 */

static int take_fd(const char *folder, const char *number, const char *wanted) {
    char target[128];
    _cleanup_free_ char *path = path_join(folder, number);
    ssize_t size = readlink(path, target, sizeof(target) - 1);

    if (size < 0)
        return -errno;
    target[size] = '\0';
    return str_has_prefix(target, wanted) ? open(path, O_RDONLY | O_CLOEXEC) : -ENOENT;
}

static int take_from_process(pid_t pid, const char *id, uint64_t bytes, const char *digest) {
    _cleanup_free_ char *folder = str_format("/proc/%d/fd", (int)pid);
    _cleanup_free_ char *name = memfd_name(id), *wanted = str_format("/memfd:%s", name);
    DIR *dir = pid > 0 ? opendir(folder) : NULL;
    char found[FROZEN_DIGEST_SIZE];
    struct dirent *entry;
    struct stat info;
    int fd = -1;

    while (dir && fd < 0 && (entry = readdir(dir)))
        fd = take_fd(folder, entry->d_name, wanted);
    if (dir)
        (void)closedir(dir);
    if (fd < 0)
        return -ENOENT;
    /* A process that a guest has taken over may have made one of that name itself. */
    if (memory_is_sealed(fd) && fstat(fd, &info) == 0 && (uint64_t)info.st_size == bytes &&
        frozen_digest(fd, digest, found, NULL) >= 0 && str_equal(found, digest))
        return fd;
    (void)fd_close(fd);
    return -ENOENT;
}

static int take_from_clones(Ramet *ramet, const char *id, uint64_t bytes, const char *digest) {
    size_t count = 0;
    VmRow *rows = NULL;
    int fd = -ENOENT;

    if (vms_list(ramet->store, &rows, &count, NULL) < 0)
        return -ENOENT;
    for (size_t i = 0; i < count && fd < 0; i++)
        if (str_equal(row_text(&rows[i], "memory_owner"), id))
            fd = take_from_process(row_process(&rows[i], "qemu").pid, id, bytes, digest);
    vm_rows_free(rows, count);
    return fd;
}

/* --- opening -----------------------------------------------------------------------------------
 */

/* With the mutex held; gives it up while the memory is filled. */
static int make_hot(Ramet *ramet, const Wanted *wanted, HotMemory **made, Error *error) {
    HotMemory *hot;
    int fd, r = check_room(ramet, wanted->data_bytes, error);

    if (r < 0)
        return r;
    hot = calloc(1, sizeof(*hot));
    if (!hot)
        abort();
    *hot = (HotMemory){.fd = -1, .filling = true, .next = ramet->hot};
    (void)snprintf(hot->id, sizeof(hot->id), "%s", wanted->owner->id);
    ramet->hot = hot;
    (void)pthread_mutex_unlock(&ramet->hot_mutex);
    fd = take_from_clones(ramet, hot->id, wanted->bytes, wanted->digest);
    if (fd < 0)
        fd = fill(wanted, error);
    (void)pthread_mutex_lock(&ramet->hot_mutex);
    hot->filling = false;
    hot->fd = fd < 0 ? -1 : fd;
    hot->bytes = fd < 0 ? 0 : allocated(fd);
    (void)pthread_cond_broadcast(&ramet->hot_filled);
    if (fd < 0) {
        drop(ramet, hot);
        return fd;
    }
    hot_holder_put(ramet, hot);
    *made = hot;
    return 0;
}

static int find_or_make(Ramet *ramet, const Wanted *wanted, int *fd, Error *error) {
    HotMemory *hot;
    int r = 0;

    (void)pthread_mutex_lock(&ramet->hot_mutex);
    while ((hot = find(ramet, wanted->owner->id)) && hot->filling)
        (void)pthread_cond_wait(&ramet->hot_filled, &ramet->hot_mutex);
    if (!hot)
        r = make_hot(ramet, wanted, &hot, error);
    if (r >= 0) {
        hot->used_usec = clock_monotonic_usec();
        hot_holder_touch(ramet, hot);
        *fd = fcntl(hot->fd, F_DUPFD_CLOEXEC, 3);
        if (*fd < 0)
            r = error_set_errno(error, errno, "cannot duplicate a descriptor");
    }
    (void)pthread_mutex_unlock(&ramet->hot_mutex);
    return r;
}

static int open_owner(Ramet *ramet, const QemuFeatures *features, const SnapshotRow *owner, int *fd,
                      char **name, Error *error) {
    const json_t *file = snapshot_file(owner, "memory");
    Wanted wanted = {.owner = owner,
                     .packed = snapshot_file_is_packed(file),
                     .bytes = snapshot_u64(owner, "memory_bytes"),
                     .digest = snapshot_content_digest(file)};
    _cleanup_close_ int opened = -1;
    _cleanup_free_ char *path = NULL;
    int r = snapshot_open_file(ramet, owner, "memory", &opened, &path, error);

    if (r < 0)
        return r;
    if (features->memory_rom && !wanted.packed) {
        *fd = TAKE_FD(opened);
    } else {
        wanted.file = opened;
        wanted.data_bytes = wanted.packed
                                ? (uint64_t)json_integer_value(json_object_get(file, "data_bytes"))
                                : allocated(opened);
        r = find_or_make(ramet, &wanted, fd, error);
    }
    if (r >= 0)
        *name = TAKE_PTR(path);
    return r;
}

int hot_memory_open(Ramet *ramet, const QemuFeatures *features, const SnapshotRow *snapshot,
                    int *fd, char **name, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow owner = {0};
    int r;

    if (str_equal(snapshot->base, snapshot->id))
        return open_owner(ramet, features, snapshot, fd, name, error);
    r = snapshots_get(ramet->store, snapshot->base, &owner, error);
    return r < 0 ? r : open_owner(ramet, features, &owner, fd, name, error);
}

uint64_t hot_memory_inode(Ramet *ramet, const char *base_id) {
    struct stat info = {0};
    HotMemory *hot;

    (void)pthread_mutex_lock(&ramet->hot_mutex);
    hot = find(ramet, base_id);
    if (hot && !hot->filling && fstat(hot->fd, &info) < 0)
        info.st_ino = 0;
    (void)pthread_mutex_unlock(&ramet->hot_mutex);
    return (uint64_t)info.st_ino;
}

/* What is wrong with a hot base, the caller's; NULL: nothing, or it is not hot. */
char *hot_memory_find_problem(Ramet *ramet, const char *base_id) {
    _cleanup_snapshot_row_ SnapshotRow owner = {0};
    _cleanup_close_ int fd = -1;
    char found[FROZEN_DIGEST_SIZE];
    const char *digest;
    HotMemory *hot;

    (void)pthread_mutex_lock(&ramet->hot_mutex);
    hot = find(ramet, base_id);
    if (hot && !hot->filling)
        fd = fcntl(hot->fd, F_DUPFD_CLOEXEC, 3);
    (void)pthread_mutex_unlock(&ramet->hot_mutex);
    if (fd < 0 || snapshots_get(ramet->store, base_id, &owner, NULL) < 0)
        return NULL;
    digest = snapshot_content_digest(snapshot_file(&owner, "memory"));
    if (!memory_is_sealed(fd))
        return str_copy("it is not sealed");
    if (frozen_digest(fd, digest, found, NULL) < 0 || !str_equal(found, digest))
        return str_copy("its content is not the snapshot's");
    return NULL;
}

void hot_memory_drop(Ramet *ramet, const char *base_id) {
    HotMemory *hot;

    (void)pthread_mutex_lock(&ramet->hot_mutex);
    hot = find(ramet, base_id);
    if (hot && !hot->filling)
        drop(ramet, hot);
    (void)pthread_mutex_unlock(&ramet->hot_mutex);
}

void hot_memory_close(Ramet *ramet) {
    while (ramet->hot)
        forget(ramet, ramet->hot);
}

void hot_memory_reconcile(Ramet *ramet) {
    (void)pthread_mutex_lock(&ramet->hot_mutex);
    hot_holder_take_back(ramet);
    (void)make_room(ramet, 0); /* the budget may be another now */
    if (!ramet->hot)
        (void)holder_quit(ramet->home_fd, NULL);
    (void)pthread_mutex_unlock(&ramet->hot_mutex);
}
