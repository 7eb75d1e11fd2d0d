/* SPDX-License-Identifier: Apache-2.0 */

/* As a seed is made (seed.c): look at all of the folder, copy it, look at all of it again. Two
 * looks that differ mean that the copy may be of no one moment, and then there is none. */

#include "disk/rootfs/iso_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "disk/iso.h"
#include "disk/rootfs/seed_walk.h"

#define PIECE_BYTES ((size_t)128 * 1024)
#define DEPTH_MAX 64
#define TARGET_MAX 4096

typedef struct Making {
    const IsoFolder *iso; /* borrowed */
    IsoWriter *writer;    /* borrowed */
    char *piece;          /* borrowed: PIECE_BYTES */
} Making;

static int refuse(const char *name, const char *what, Error *error) {
    _cleanup_free_ char *clean = str_sanitize(name, strnlen(name, 300));
    error_set(error, ERROR_USAGE, EINVAL, "%s %s", clean, what);
    error_set_hint(error, "a disk of this kind has files, folders and symbolic links; a seed "
                          "(ramet seed create) may have more");
    return -EINVAL;
}

static int check_entry(void *data, const char *path, const char *name, const struct stat *info,
                       Error *error) {
    size_t depth = 0;
    for (const char *at = name; *at; at++)
        depth += *at == '/';
    if (!S_ISREG(info->st_mode) && !S_ISDIR(info->st_mode) && !S_ISLNK(info->st_mode))
        return refuse(name, "is a socket, a pipe or a device", error);
    return depth > DEPTH_MAX ? refuse(name, "lies in too many folders", error) : 0;
}

static int gone(const char *name, Error *error) {
    _cleanup_free_ char *clean = str_sanitize(name, strnlen(name, 300));
    return error_set(error, ERROR_CONFLICT, EBUSY, "the folder changed while it was read: %s",
                     clean);
}

/* Just as much as was announced. */
static int add_content(Making *making, const char *path, const char *name, uint64_t left,
                       Error *error) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    int r = fd < 0 ? error_set_errno(error, errno, "cannot read %s", name) : 0;
    while (r >= 0 && left > 0) {
        ssize_t n = read(fd, making->piece, MIN_OF(left, (uint64_t)PIECE_BYTES));
        if (fd_is_cancelled(making->iso->cancel_fd))
            return error_set(error, ERROR_CANCELLED, ECANCELED, "it was cancelled");
        if (n <= 0)
            return n < 0 ? error_set_errno(error, errno, "cannot read %s", name)
                         : gone(name, error);
        r = iso_add_data(making->writer, making->piece, (size_t)n, error);
        left -= (uint64_t)n;
    }
    return r;
}

static int add_link(Making *making, const char *path, const char *name, const struct stat *info,
                    Error *error) {
    char target[TARGET_MAX];
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return error_set_errno(error, errno, "cannot read %s", name);
    target[n] = '\0';
    return iso_begin_entry(making->writer, name, info, target, error);
}

static int add_entry(void *data, const char *path, const char *name, const struct stat *info,
                     Error *error) {
    Making *making = data;
    int r;
    if (!*name) /* the folder itself */
        return 0;
    r = check_entry(NULL, path, name, info, error);
    if (r >= 0 && S_ISLNK(info->st_mode))
        return add_link(making, path, name, info, error);
    if (r >= 0)
        r = iso_begin_entry(making->writer, name, info, NULL, error);
    return r < 0 || !S_ISREG(info->st_mode)
               ? r
               : add_content(making, path, name, (uint64_t)info->st_size, error);
}

static int check_size(const IsoFolder *iso, const SeedWalk *walk, Error *error) {
    _cleanup_free_ char *has = format_size(walk->bytes), *most = format_size(iso->most_bytes);
    if (walk->bytes <= iso->most_bytes)
        return 0;
    error_set(error, ERROR_USAGE, EFBIG, "the folder holds %s, and such a disk at most %s", has,
              most);
    error_set_hint(error, "a seed or a volume holds more: ramet seed create, ramet volume create");
    return -EFBIG;
}

static int write_all(const IsoFolder *iso, Error *error) {
    _cleanup_free_ char *options = str_format("volume-id=%s,rockridge=strict,!joliet", iso->label);
    _cleanup_free_ char *piece = malloc(PIECE_BYTES);
    _cleanup_iso_ IsoWriter *writer = NULL;
    Making making = {.iso = iso, .piece = piece};
    int r;
    if (!piece)
        abort();
    r = iso_open(iso->output_fd, options, &writer, error);
    making.writer = writer;
    if (r >= 0)
        r = seed_walk_each(iso->folder, add_entry, &making, error);
    return r < 0 ? r : iso_close(writer, error);
}

int iso_from_folder(const IsoFolder *iso, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_seed_walk_ SeedWalk walk = {0};
    int changed, r = seed_walk(iso->folder, &walk, error);
    if (r >= 0)
        r = check_size(iso, &walk, error);
    if (r >= 0)
        r = seed_walk_each(iso->folder, check_entry, NULL, error);
    if (r < 0)
        return r;
    r = write_all(iso, &failure);
    if (r < 0 && failure.kind != ERROR_FAILED && failure.kind != ERROR_NOT_FOUND)
        return error_move(error, &failure);
    changed = seed_walk_compare(iso->folder, &walk, error); /* why it failed, if it did */
    if (changed < 0)
        return changed;
    return r < 0 ? error_move(error, &failure) : 0;
}
