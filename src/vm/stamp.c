/* SPDX-License-Identifier: Apache-2.0 */

/* Frozen files and how they are known again. */

#include <errno.h>
#include <sys/stat.h>

#include "base/tree_digest.h"
#include "vm/snapshot_internal.h"

static json_int_t mtime_nsec(const struct stat *info) {
    return (json_int_t)info->st_mtim.tv_sec * 1000000000 + (json_int_t)info->st_mtim.tv_nsec;
}

int stamp_make(int fd, json_t **stamp, Error *error) {
    struct stat info;

    if (fstat(fd, &info) < 0)
        return error_set_errno(error, errno, "cannot look at a frozen file");
    *stamp = json_pack("{s:I, s:I, s:I}", "size", (json_int_t)info.st_size, "mtime_ns",
                       mtime_nsec(&info), "inode", (json_int_t)info.st_ino);
    return 0;
}

static json_int_t number(const json_t *stamp, const char *key) {
    return json_integer_value(json_object_get(stamp, key));
}

static int refuse(Error *error, const char *path, const char *why) {
    error_set(error, ERROR_CORRUPT, EBADMSG, "%s %s", path, why);
    error_set_hint(error, "a frozen file was changed from outside; restore it from a backup or "
                          "remove the snapshot");
    return -EBADMSG;
}

int frozen_digest(int fd, const char *recorded, char found[FROZEN_DIGEST_SIZE], Error *error) {
    const TreeDigestOptions options = {.cancel_fd = -1};

    return frozen_digest_is_tree(recorded) ? tree_digest_file(fd, &options, found, error)
                                           : sha256_file(fd, found, error);
}

bool frozen_digest_is_tree(const char *digest) {
    return digest && str_has_prefix(digest, TREE_DIGEST_PREFIX);
}

/* A file that was copied with its home has another inode or time, and yet is the same. */
static int check_digest(int fd, const char *digest, const char *path, Error *error) {
    char found[FROZEN_DIGEST_SIZE];
    int r = *digest ? frozen_digest(fd, digest, found, error) : 0;

    if (r < 0)
        return r;
    if (*digest && str_equal(found, digest))
        return 0;
    return refuse(error, path, "is not what was frozen: its content was changed (SHA-256)");
}

int stamp_check(int fd, const json_t *stamp, const char *digest, const char *path, Error *error) {
    struct stat info;

    if (fstat(fd, &info) < 0)
        return error_set_errno(error, errno, "cannot look at %s", path);
    if ((json_int_t)info.st_size != number(stamp, "size")) {
        _cleanup_free_ char *why =
            str_format("was cut or grew: it has %lld bytes, not %lld", (long long)info.st_size,
                       (long long)number(stamp, "size"));

        return refuse(error, path, why);
    }
    if (mtime_nsec(&info) == number(stamp, "mtime_ns") &&
        (json_int_t)info.st_ino == number(stamp, "inode"))
        return 0;
    return check_digest(fd, digest, path, error);
}
