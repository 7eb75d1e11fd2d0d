/* SPDX-License-Identifier: Apache-2.0 */

/* Frozen files and how they are known again. */

#include "frozen/stamp.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/str.h"
#include "base/tree_digest.h"

int stamp_make(int fd, FileStamp *stamp, Error *error) {
    struct stat info;
    if (fstat(fd, &info) < 0)
        return error_set_errno(error, errno, "cannot look at a frozen file");
    *stamp = (FileStamp){.size = (uint64_t)info.st_size,
                         .mtime_ns = (uint64_t)info.st_mtim.tv_sec * 1000000000 +
                                     (uint64_t)info.st_mtim.tv_nsec,
                         .inode = info.st_ino};
    return 0;
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

int stamp_check(int fd, const FileStamp *stamp, const char *digest, const char *path,
                Error *error) {
    char found[FROZEN_DIGEST_SIZE];
    FileStamp now;
    int r = stamp_make(fd, &now, error);
    if (r < 0)
        return error_add_context(error, "%s", path);
    if (now.size != stamp->size) {
        _cleanup_free_ char *why =
            str_format("was cut or grew: it has %llu bytes, not %llu", (unsigned long long)now.size,
                       (unsigned long long)stamp->size);
        return refuse(error, path, why);
    }
    if (now.mtime_ns == stamp->mtime_ns && now.inode == stamp->inode)
        return 0;
    /* A file that was copied with its home has another inode or time, and yet is the same. */
    if (*digest && (r = frozen_digest(fd, digest, found, error)) < 0)
        return r;
    if (*digest && str_equal(found, digest))
        return 0;
    return refuse(error, path, "is not what was frozen: its content was changed (SHA-256)");
}
