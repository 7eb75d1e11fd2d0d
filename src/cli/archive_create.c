/* SPDX-License-Identifier: Apache-2.0 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/str.h"
#include "cli/copy_archive.h"

typedef struct Creation {
    struct archive *disk;                     /* owned */
    struct archive *out;                      /* owned */
    struct archive_entry_linkresolver *links; /* owned */
    size_t prefix_size;                       /* of the paths that the disk reader gives */
    const char *name;
    int out_fd;   /* borrowed */
    bool discard; /* after an error: nothing more is written, not even the archive's end */
    Error *error;
} Creation;

static int failed(Creation *creation, struct archive *archive, const char *path) {
    int errnum = archive_errno(archive);

    return error_set(creation->error, errnum == ENOENT ? ERROR_NOT_FOUND : ERROR_FAILED,
                     errnum > 0 ? errnum : EIO, "cannot copy %s: %s", path,
                     archive_error_string(archive));
}

static int write_zeroes(Creation *creation, uint64_t size) {
    static const char zeroes[64 * 1024];

    while (size > 0) {
        size_t n = (size_t)MIN_OF(size, (uint64_t)sizeof(zeroes));

        if (archive_write_data(creation->out, zeroes, n) < 0)
            return failed(creation, creation->out, "the file");
        size -= n;
    }
    return 0;
}

/* The writer wants the whole file; it leaves out what the entry's map calls a hole. */
static int write_data(Creation *creation, struct archive_entry *entry) {
    uint64_t done = 0;
    const void *data;
    size_t size;
    la_int64_t offset;
    int r;

    while ((r = archive_read_data_block(creation->disk, &data, &size, &offset)) == ARCHIVE_OK) {
        r = (uint64_t)offset > done ? write_zeroes(creation, (uint64_t)offset - done) : 0;
        if (r < 0)
            return r;
        if (archive_write_data(creation->out, data, size) < 0)
            return failed(creation, creation->out, archive_entry_pathname(entry));
        done = (uint64_t)offset + size;
    }
    if (r < ARCHIVE_WARN)
        return failed(creation, creation->disk, archive_entry_sourcepath(entry));
    if (done < (uint64_t)archive_entry_size(entry))
        return write_zeroes(creation, (uint64_t)archive_entry_size(entry) - done);
    return 0;
}

static int write_entry(Creation *creation, struct archive_entry *entry) {
    struct archive_entry *later = NULL;

    archive_entry_linkify(creation->links, &entry, &later); /* pax: never keeps one for later */
    if (archive_write_header(creation->out, entry) < ARCHIVE_WARN)
        return failed(creation, creation->out, archive_entry_pathname(entry));
    return archive_entry_size(entry) > 0 ? write_data(creation, entry) : 0;
}

/* /source/folder/a/b → name/a/b, owned by nobody in particular. */
static void rename_entry(const Creation *creation, struct archive_entry *entry) {
    const char *path = archive_entry_pathname(entry);
    _cleanup_free_ char *renamed =
        str_format("%s%s", creation->name, path + MIN_OF(creation->prefix_size, strlen(path)));

    archive_entry_copy_pathname(entry, renamed);
    archive_entry_set_uid(entry, 0);
    archive_entry_set_gid(entry, 0);
    archive_entry_set_uname(entry, NULL);
    archive_entry_set_gname(entry, NULL);
}

static int write_all(Creation *creation) {
    struct archive_entry *entry = archive_entry_new();
    int r = 0;

    while (r == 0) {
        int status = archive_read_next_header2(creation->disk, entry);

        if (status == ARCHIVE_EOF)
            break;
        if (status < ARCHIVE_WARN) {
            r = failed(creation, creation->disk, archive_entry_pathname(entry));
            break;
        }
        (void)archive_read_disk_descend(creation->disk);
        if (archive_entry_filetype(entry) == AE_IFSOCK)
            continue;
        rename_entry(creation, entry);
        r = write_entry(creation, entry);
        archive_entry_clear(entry);
    }
    archive_entry_free(entry);
    return r;
}

static la_ssize_t write_out(struct archive *archive, void *data, const void *bytes, size_t size) {
    Creation *creation = data;
    int r = creation->discard ? 0 : fd_write_full(creation->out_fd, bytes, size);

    if (r == 0)
        return (la_ssize_t)size;
    archive_set_error(archive, -r, "%s", strerror(-r));
    return -1;
}

static int open_both(Creation *creation, const char *path) {
    archive_read_disk_set_symlink_physical(creation->disk);
    archive_read_disk_set_behavior(creation->disk, ARCHIVE_READDISK_NO_ACL |
                                                       ARCHIVE_READDISK_NO_XATTR |
                                                       ARCHIVE_READDISK_NO_FFLAGS);
    archive_write_set_format_pax_restricted(creation->out);
    archive_write_set_bytes_in_last_block(creation->out, 1);
    archive_entry_linkresolver_set_strategy(creation->links, archive_format(creation->out));
    if (archive_write_open(creation->out, creation, NULL, write_out, NULL) != ARCHIVE_OK)
        return failed(creation, creation->out, path);
    if (archive_read_disk_open(creation->disk, path) != ARCHIVE_OK)
        return failed(creation, creation->disk, path);
    return 0;
}

/* The path without slashes at its end, as the disk reader gives it back. */
static char *trim_path(const char *path) {
    char *trimmed = str_copy(path);

    for (size_t n = strlen(trimmed); n > 1 && trimmed[n - 1] == '/'; n--)
        trimmed[n - 1] = '\0';
    return trimmed;
}

int archive_create(const char *path, const char *name, int out_fd, Error *error) {
    _cleanup_free_ char *trimmed = trim_path(path);
    Creation creation = {.disk = archive_read_disk_new(),
                         .out = archive_write_new(),
                         .links = archive_entry_linkresolver_new(),
                         .prefix_size = strlen(trimmed),
                         .name = name,
                         .out_fd = out_fd,
                         .error = error};
    int r;

    if (!creation.disk || !creation.out || !creation.links)
        abort();
    r = open_both(&creation, trimmed);
    if (r == 0)
        r = write_all(&creation);
    creation.discard = r < 0;
    if (archive_write_close(creation.out) != ARCHIVE_OK && r == 0)
        r = failed(&creation, creation.out, path);
    archive_entry_linkresolver_free(creation.links);
    (void)archive_read_free(creation.disk);
    (void)archive_write_free(creation.out);
    return r;
}
