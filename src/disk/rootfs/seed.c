/* SPDX-License-Identifier: Apache-2.0 */

/*   look at all of the folder ─▶ mke2fs -d ─▶ complete the inodes ─▶ look at all of it again
 *
 * What is random in a file system (its UUID, the seed of its folders' hashes) and what is the time
 * of its making is the same in all of them, so that equal folders are equal seeds. Two looks that
 * differ mean that the copy may be of no one moment, and then there is none. */

#include "disk/rootfs/seed.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "base/str.h"
#include "disk/rootfs/rootfs_tools.h"
#include "disk/rootfs/seed_inodes.h"
#include "disk/rootfs/seed_walk.h"

#define SEED_UUID "52414d45-5400-4000-8000-000000000002"
#define EPOCH 1577836800u /* 2020: what the time of its making is */
#define BLOCK_BYTES ((uint64_t)4096)
#define INODE_BYTES ((uint64_t)256)
#define SPARE_BYTES (64 * MIB)
#define GROWS_BY_GROUPS "256"   /* of 128 MiB: docs/seeds.md */
#define JOURNAL_BYTES (4 * MIB) /* the least, of */
#define LEAST_BYTES (8 * MIB)   /* what mke2fs makes one in */

static uint64_t round_up(uint64_t value, uint64_t to) {
    return (value + to - 1) / to * to;
}

static uint64_t disk_size(const SeedBuild *build, const SeedWalk *walk) {
    uint64_t bytes = walk->blocks * BLOCK_BYTES + walk->entries * INODE_BYTES * 5 / 4;
    if (build->size_bytes > 0)
        return round_up(build->size_bytes, BLOCK_BYTES);
    return round_up(bytes + bytes / 4 + SPARE_BYTES, MIB);
}

static uint64_t count_inodes(const SeedWalk *walk, uint64_t bytes) {
    return MAX_OF(walk->entries * 5 / 4 + 4096, bytes / 16384);
}

/* What mke2fs would not get into the disk, it would tell in its own words. */
static int check_size(const SeedBuild *build, const SeedWalk *walk, uint64_t bytes, Error *error) {
    uint64_t least =
        walk->blocks * BLOCK_BYTES + count_inodes(walk, bytes) * INODE_BYTES + JOURNAL_BYTES;
    if (build->size_bytes == 0 || bytes >= MAX_OF(least, LEAST_BYTES))
        return 0;
    least = round_up(MAX_OF(least, LEAST_BYTES), MIB);
    _cleanup_free_ char *asked = format_size(bytes), *needed = format_size(least);
    error_set(error, ERROR_NO_SPACE, ENOSPC, "%s are too little for it: it needs at least %s",
              asked, needed);
    error_set_hint(error, "leave the size out or ask for more");
    return -ENOSPC;
}

/* ext4 keeps a name for itself. */
static int check_lost_found(const char *folder, Error *error) {
    _cleanup_free_ char *path = path_join(folder, "lost+found");
    struct stat info;
    if (lstat(path, &info) < 0 || S_ISDIR(info.st_mode))
        return 0;
    error_set(error, ERROR_USAGE, ENOTDIR, "%s is no folder, as ext4 has one of that name", path);
    error_set_hint(error, "rename it");
    return -ENOTDIR;
}

static void add_common(StrList *argv, const char *label) {
    strlist_add_many(argv, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0",
                     "-L", label, NULL);
}

static int run_mke2fs(const SeedBuild *build, const SeedWalk *walk, uint64_t bytes, Error *error) {
    _cleanup_(strlist_free) StrList argv = {0};
    uint64_t inodes = count_inodes(walk, bytes);
    add_common(&argv, "seed");
    strlist_add_many(&argv, "-U", SEED_UUID, "-G", GROWS_BY_GROUPS, "-N", NULL);
    strlist_add_format(&argv, "%llu", (unsigned long long)inodes);
    strlist_add_many(&argv, "-E",
                     "nodiscard,lazy_itable_init=1,lazy_journal_init=1,hash_seed=" SEED_UUID, "-d",
                     build->folder, build->output_path, NULL);
    strlist_add_format(&argv, "%lluk", (unsigned long long)(bytes / 1024));
    return rootfs_run_tool(&argv, EPOCH, build->cancel_fd, error);
}

/* A folder that changed is why mke2fs failed, when it did. */
static int explain(const SeedBuild *build, const SeedWalk *walk, Error *failure, Error *error) {
    if (failure->kind == ERROR_FAILED || failure->kind == ERROR_NOT_FOUND) {
        int r = seed_walk_compare(build->folder, walk, error);
        if (r < 0)
            return r;
    }
    return error_move(error, failure);
}

int seed_from_folder(const SeedBuild *build, SeedResult *result, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_seed_walk_ SeedWalk walk = {0};
    uint64_t bytes;
    int r = rootfs_require_tool("mke2fs", "e2fsprogs", error);
    if (r >= 0)
        r = seed_walk(build->folder, &walk, error);
    if (r < 0)
        return r;
    bytes = disk_size(build, &walk);
    r = check_size(build, &walk, bytes, error);
    if (r >= 0)
        r = check_lost_found(build->folder, error);
    if (r < 0)
        return r;
    r = run_mke2fs(build, &walk, bytes, &failure);
    if (r >= 0)
        r = seed_complete_inodes(build->folder, build->output_path, EPOCH, &failure);
    if (r < 0)
        return explain(build, &walk, &failure, error);
    r = seed_walk_compare(build->folder, &walk, error);
    if (r < 0)
        return r;
    *result = (SeedResult){.virtual_bytes = bytes,
                           .content_bytes = walk.bytes,
                           .entries = walk.entries - 1,
                           .sockets = walk.sockets};
    return 0;
}

int seed_make_empty(const char *output_path, uint64_t bytes, const char *label, int cancel_fd,
                    Error *error) {
    _cleanup_(strlist_free) StrList argv = {0};
    int r = rootfs_require_tool("mke2fs", "e2fsprogs", error);
    if (r < 0)
        return r;
    add_common(&argv, label);
    strlist_add_many(&argv, "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0",
                     output_path, NULL);
    strlist_add_format(&argv, "%lluk", (unsigned long long)(bytes / 1024));
    r = rootfs_run_tool(&argv, 0, cancel_fd, error);
    return r < 0 ? r : seed_complete_empty(output_path, error);
}
