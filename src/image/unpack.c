/* SPDX-License-Identifier: Apache-2.0 */

/* libarchive does the reading, with only those filters and formats switched on that are wanted
 * here: its "all" would also guess at uuencode, rpm or cpio in hostile bytes. Writing is done here,
 * below one folder descriptor that was made empty for it; since only folders and regular files are
 * ever made, no link can lead a later path astray. */
#include "image/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

enum { BLOCK = 256 * 1024 };

typedef struct archive Archive;

static void archive_free_p(Archive **archive) {
    if (*archive)
        (void)archive_read_free(*archive);
}
#define _cleanup_archive_ _cleanup_(archive_free_p)

static Archive *archive_new_reader(void) {
    Archive *archive = archive_read_new();
    if (!archive)
        abort();
    (void)archive_read_support_filter_gzip(archive);
    (void)archive_read_support_filter_bzip2(archive);
    (void)archive_read_support_filter_lzma(archive);
    (void)archive_read_support_filter_xz(archive);
    (void)archive_read_support_filter_lz4(archive);
    (void)archive_read_support_filter_zstd(archive);
    return archive;
}

static int archive_failed(Archive *archive, const char *what, Error *error) {
    int errnum = archive_errno(archive);
    const char *text = archive_error_string(archive);
    if (errnum == ENOMEM || errnum == ENOENT || errnum == EACCES || errnum == EIO)
        return error_set_errno(error, errnum, "cannot read %s", what);
    _cleanup_free_ char *clean =
        str_sanitize(text ? text : "damaged", strlen(text ? text : "damaged"));
    return error_set(error, ERROR_CORRUPT, EBADMSG, "cannot read %s: %s", what, clean);
}

/* Reads until size bytes, the end, or an error; returns the count. A short count with an error is
 * the error. */
static ssize_t archive_read_full(Archive *archive, uint8_t *out, size_t size) {
    size_t done = 0;
    while (done < size) {
        la_ssize_t n = archive_read_data(archive, out + done, size - done);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int unpack_memory(const void *in, size_t in_size, void *out, size_t out_size, Error *error) {
    _cleanup_archive_ Archive *archive = archive_new_reader();
    (void)archive_read_support_format_raw(archive);
    struct archive_entry *entry;
    if (archive_read_open_memory(archive, in, in_size) != ARCHIVE_OK ||
        archive_read_next_header(archive, &entry) != ARCHIVE_OK)
        return archive_failed(archive, "the packed data", error);
    if (archive_filter_count(archive) < 2)
        return error_set(error, ERROR_UNSUPPORTED, ENOTSUP,
                         "packed in a way that is not known here");
    ssize_t n = archive_read_full(archive, out, out_size);
    if (n < 0)
        return archive_failed(archive, "the packed data", error);
    if ((size_t)n < out_size)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "the packed data ends too soon");
    return 0;
}

/* Writes an entry's data to out_fd; *left is what may still be written in all. */
static int copy_entry(Archive *archive, const char *what, int out_fd, uint64_t *left,
                      Error *error) {
    _cleanup_free_ uint8_t *block = malloc(BLOCK);
    if (!block)
        return error_set_errno(error, ENOMEM, "cannot read %s", what);
    for (;;) {
        la_ssize_t n = archive_read_data(archive, block, BLOCK);
        if (n < 0)
            return archive_failed(archive, what, error);
        if (n == 0)
            return 0;
        if ((uint64_t)n > *left)
            return error_set(error, ERROR_CORRUPT, EFBIG, "%s holds more than is allowed", what);
        *left -= (uint64_t)n;
        int r = fd_write_full(out_fd, block, (size_t)n);
        if (r < 0)
            return error_set_errno(error, -r, "cannot write the content of %s", what);
    }
}

int unpack_file(const char *path, int out_fd, uint64_t max_bytes, Error *error) {
    _cleanup_archive_ Archive *archive = archive_new_reader();
    (void)archive_read_support_format_raw(archive);
    (void)archive_read_support_format_empty(archive);
    struct archive_entry *entry;
    if (archive_read_open_filename(archive, path, BLOCK) != ARCHIVE_OK)
        return archive_failed(archive, path, error);
    int r = archive_read_next_header(archive, &entry);
    if (r == ARCHIVE_EOF)
        return 0;
    if (r != ARCHIVE_OK)
        return archive_failed(archive, path, error);
    return copy_entry(archive, path, out_fd, &max_bytes, error);
}

bool unpack_path_is_safe(const char *path) {
    if (*path == '\0' || *path == '/')
        return false;
    for (const char *part = path; part;) {
        size_t length = strcspn(part, "/");
        if (length == 0 || (length == 1 && part[0] == '.') ||
            (length == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        part = part[length] ? part + length + 1 : NULL;
    }
    return true;
}

/* Makes the folders above `path` below folder_fd. The path is safe and no link is ever made there.
 */
static int make_parents(int folder_fd, const char *path) {
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        _cleanup_free_ char *parent = strndup(path, (size_t)(slash - path));
        if (!parent)
            return -ENOMEM;
        if (mkdirat(folder_fd, parent, 0755) < 0 && errno != EEXIST)
            return -errno;
    }
    return 0;
}

static int write_member(Archive *data, int folder_fd, const char *path, mode_t mode, uint64_t *left,
                        Error *error) {
    int r = make_parents(folder_fd, path);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make the folder of %s", path);
    _cleanup_close_ int fd =
        openat(folder_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
               mode & 0111 ? 0755 : 0644);
    if (fd < 0 && errno == EEXIST)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "the package holds %s twice", path);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot write %s", path);
    return copy_entry(data, path, fd, left, error);
}

static bool is_wanted(const char *path, const char *const *prefixes) {
    for (; *prefixes; prefixes++)
        if (str_has_prefix(path, *prefixes))
            return true;
    return false;
}

static int write_members(const ImageContext *context, Archive *data, const char *const *prefixes,
                         int folder_fd, uint64_t left, Error *error) {
    struct archive_entry *entry;
    int r, count = 0;
    while ((r = archive_read_next_header(data, &entry)) == ARCHIVE_OK) {
        const char *path = archive_entry_pathname(entry);
        if (path && path[0] == '.' && path[1] == '/')
            path += 2;
        if (!path || archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) ||
            !is_wanted(path, prefixes))
            continue;
        if (!unpack_path_is_safe(path))
            return error_set(error, ERROR_CORRUPT, EBADMSG,
                             "the package names a path that leads out");
        r = image_context_check(context, error);
        if (r < 0)
            return r;
        r = write_member(data, folder_fd, path, archive_entry_mode(entry), &left, error);
        if (r < 0)
            return r;
        count++;
    }
    return r == ARCHIVE_EOF ? count : archive_failed(data, "the package's data", error);
}

/* data.tar.* is read out of the ar archive while that is being read. */
typedef struct Member {
    Archive *outer; /* borrowed */
    uint8_t block[BLOCK];
} Member;

static la_ssize_t read_member(Archive *inner, void *data, const void **block) {
    Member *member = data;
    *block = member->block;
    la_ssize_t n = archive_read_data(member->outer, member->block, sizeof(member->block));
    if (n < 0)
        archive_set_error(inner, archive_errno(member->outer), "%s",
                          archive_error_string(member->outer));
    return n;
}

static int find_data_member(Archive *outer, const char *path, Error *error) {
    struct archive_entry *entry;
    int r;
    while ((r = archive_read_next_header(outer, &entry)) == ARCHIVE_OK) {
        const char *name = archive_entry_pathname(entry);
        if (name && str_has_prefix(name, "data.tar"))
            return 0;
    }
    if (r == ARCHIVE_EOF)
        return error_set(error, ERROR_CORRUPT, EBADMSG,
                         "%s is no Debian package: it holds no data.tar", path);
    return archive_failed(outer, path, error);
}

int unpack_deb(const ImageContext *context, const char *path, const char *const *prefixes,
               const char *folder, uint64_t max_bytes, Error *error) {
    _cleanup_archive_ Archive *outer = archive_read_new(), *inner = archive_new_reader();
    if (!outer)
        abort();
    (void)archive_read_support_format_ar(outer);
    (void)archive_read_support_format_tar(inner);
    if (archive_read_open_filename(outer, path, BLOCK) != ARCHIVE_OK)
        return archive_failed(outer, path, error);
    int r = find_data_member(outer, path, error);
    if (r < 0)
        return r;
    _cleanup_free_ Member *member = malloc(sizeof(*member));
    if (!member)
        return error_set_errno(error, ENOMEM, "cannot read %s", path);
    member->outer = outer;
    if (archive_read_open(inner, member, NULL, read_member, NULL) != ARCHIVE_OK)
        return archive_failed(inner, path, error);
    _cleanup_close_ int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return error_set_errno(error, errno, "cannot open %s", folder);
    r = write_members(context, inner, prefixes, folder_fd, max_bytes, error);
    return r < 0 ? error_add_context(error, "cannot unpack %s", path) : r;
}
