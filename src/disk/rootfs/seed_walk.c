/* SPDX-License-Identifier: Apache-2.0 */

#include "disk/rootfs/seed_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

#define BLOCK_BYTES ((uint64_t)4096)
#define ENTRIES_MAX ((uint64_t)4000000)

void seed_walk_free(SeedWalk *walk) {
    free(walk->stamps);
    walk->stamps = NULL;
}

/* FNV-1a, over what changes when a file does. */
static uint64_t mix(uint64_t hash, const void *data, size_t size) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

/* A folder's size says nothing, and its time is that of its last entry, come or gone. */
static uint64_t stamp_of(const char *path, const struct stat *info) {
    const uint64_t parts[] = {info->st_ino,
                              info->st_mode,
                              info->st_uid,
                              info->st_gid,
                              S_ISDIR(info->st_mode) ? 0 : (uint64_t)info->st_size,
                              (uint64_t)info->st_mtim.tv_sec,
                              (uint64_t)info->st_mtim.tv_nsec,
                              (uint64_t)info->st_ctim.tv_sec,
                              (uint64_t)info->st_ctim.tv_nsec};
    return mix(mix(0xcbf29ce484222325u, path, strlen(path)), parts, sizeof(parts));
}

static int compare_names(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static FTS *open_tree(const char *folder, Error *error) {
    char *const roots[] = {(char *)(uintptr_t)folder, NULL};
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, compare_names);
    if (!tree)
        (void)error_set_errno(error, errno, "cannot read %s", folder);
    return tree;
}

static int tell_change(const char *path, Error *error) {
    _cleanup_free_ char *clean = str_sanitize(path, strnlen(path, 300));
    error_set(error, ERROR_CONFLICT, EBUSY, "the folder changed while it was read: %s",
              *clean ? clean : "its top");
    error_set_hint(error, "try again when nobody writes to it, or take a copy of it first");
    return -EBUSY;
}

/* One that is gone since its folder was listed is a change. */
static int refuse_entry(const FTSENT *entry, Error *error) {
    _cleanup_free_ char *path = str_sanitize(entry->fts_path, strnlen(entry->fts_path, 300));
    if (entry->fts_errno == ENOENT && entry->fts_level > FTS_ROOTLEVEL)
        return tell_change(path, error);
    return error_set_errno(error, entry->fts_errno, "cannot read %s", path);
}

/* The next one that counts; NULL: the end, or *r says why not. */
static FTSENT *next_entry(FTS *tree, int *r, Error *error) {
    FTSENT *entry;
    *r = 0;
    do {
        errno = 0;
        entry = fts_read(tree);
    } while (entry && entry->fts_info == FTS_DP);
    if (!entry && errno)
        *r = error_set_errno(error, errno, "cannot read the folder");
    else if (entry && (entry->fts_info == FTS_ERR || entry->fts_info == FTS_DNR ||
                       entry->fts_info == FTS_NS || entry->fts_info == FTS_DC))
        *r = refuse_entry(entry, error);
    return *r < 0 ? NULL : entry;
}

static int add_stamp(SeedWalk *walk, uint64_t stamp, Error *error) {
    if (walk->entries == ENTRIES_MAX)
        return error_set(error, ERROR_USAGE, E2BIG, "the folder has more than %llu entries",
                         (unsigned long long)ENTRIES_MAX);
    if (walk->entries == walk->room) {
        uint64_t room = walk->room ? walk->room * 2 : 1024;
        uint64_t *more = realloc(walk->stamps, room * sizeof(*more));
        if (!more)
            return error_set_errno(error, ENOMEM, "cannot read the folder");
        walk->stamps = more;
        walk->room = room;
    }
    walk->stamps[walk->entries++] = stamp;
    return 0;
}

/* mke2fs would tell it in its own words. */
static int check_readable(const char *path, Error *error) {
    if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0 || errno != EACCES)
        return 0;
    _cleanup_free_ char *clean = str_sanitize(path, strnlen(path, 300));
    return error_set_errno(error, EACCES, "cannot read %s", clean);
}

static int add_entry(void *data, const char *path, const char *name, const struct stat *info,
                     Error *error) {
    SeedWalk *walk = data;
    if (S_ISREG(info->st_mode)) {
        int r = check_readable(path, error);
        if (r < 0)
            return r;
        walk->bytes += (uint64_t)info->st_size;
        walk->blocks += ((uint64_t)info->st_size + BLOCK_BYTES - 1) / BLOCK_BYTES;
    } else {
        walk->blocks++;
        walk->sockets += S_ISSOCK(info->st_mode);
    }
    return add_stamp(walk, stamp_of(name, info), error);
}

static const char *name_within(const FTSENT *entry, const char *folder) {
    const char *name = entry->fts_path + strlen(folder);
    return name + strspn(name, "/");
}

int seed_walk_each(const char *folder,
                   int (*each)(void *data, const char *path, const char *name,
                               const struct stat *info, Error *error),
                   void *data, Error *error) {
    FTS *tree = open_tree(folder, error);
    FTSENT *entry;
    int r = tree ? 0 : -EIO;
    while (r >= 0 && (entry = next_entry(tree, &r, error)))
        r = each(data, entry->fts_path, name_within(entry, folder), entry->fts_statp, error);
    if (tree)
        (void)fts_close(tree);
    return r;
}

int seed_walk(const char *folder, SeedWalk *walk, Error *error) {
    return seed_walk_each(folder, add_entry, walk, error);
}

int seed_walk_compare(const char *folder, const SeedWalk *before, Error *error) {
    _cleanup_error_ Error trouble = ERROR_INIT;
    FTS *tree = open_tree(folder, error);
    uint64_t n = 0;
    FTSENT *entry;
    int r = tree ? 0 : -EIO;
    while (r >= 0 && (entry = next_entry(tree, &r, &trouble))) {
        const char *name = name_within(entry, folder);
        if (n >= before->entries || before->stamps[n++] != stamp_of(name, entry->fts_statp))
            r = tell_change(name, error);
    }
    if (r < 0 && trouble.kind == ERROR_CONFLICT)
        r = error_move(error, &trouble);
    else if (r < 0 && trouble.kind != ERROR_NONE)
        r = tell_change(error_message(&trouble), error);
    if (r >= 0 && n < before->entries)
        r = tell_change("something is gone", error);
    if (tree)
        (void)fts_close(tree);
    return r;
}
