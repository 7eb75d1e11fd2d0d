/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/iso.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>

#include "base/str.h"

struct IsoWriter {
    struct archive *archive; /* owned */
};

static void entry_free_p(struct archive_entry **entry) {
    archive_entry_free(*entry);
}

static int failed(const IsoWriter *writer, Error *error) {
    int errnum = archive_errno(writer->archive);
    return error_set_errno(error, errnum > 0 ? errnum : EIO, "cannot write the ISO 9660 disk: %s",
                           str_or_empty(archive_error_string(writer->archive)));
}

int iso_open(int fd, const char *options, IsoWriter **writer, Error *error) {
    _cleanup_iso_ IsoWriter *made = calloc(1, sizeof(*made));
    if (!made || !(made->archive = archive_write_new()))
        abort();
    if (archive_write_set_format_iso9660(made->archive) != ARCHIVE_OK ||
        archive_write_set_options(made->archive, options) != ARCHIVE_OK ||
        archive_write_open_fd(made->archive, fd) != ARCHIVE_OK)
        return failed(made, error);
    *writer = TAKE_PTR(made);
    return 0;
}

int iso_begin_entry(IsoWriter *writer, const char *path, const struct stat *info,
                    const char *target, Error *error) {
    _cleanup_(entry_free_p) struct archive_entry *entry = archive_entry_new();
    long nsec = info->st_mtim.tv_nsec;
    if (!entry)
        abort();
    archive_entry_set_pathname(entry, path);
    archive_entry_set_mode(entry, info->st_mode);
    archive_entry_set_nlink(entry, 1); /* programs take 0 for a file that was removed */
    archive_entry_set_uid(entry, info->st_uid);
    archive_entry_set_gid(entry, info->st_gid);
    archive_entry_set_size(entry, S_ISREG(info->st_mode) ? (la_int64_t)info->st_size : 0);
    archive_entry_set_mtime(entry, info->st_mtim.tv_sec, nsec);
    archive_entry_set_ctime(entry, info->st_mtim.tv_sec, nsec);
    archive_entry_set_atime(entry, info->st_mtim.tv_sec, nsec);
    archive_entry_set_birthtime(entry, info->st_mtim.tv_sec, nsec);
    if (target)
        archive_entry_set_symlink(entry, target);
    return archive_write_header(writer->archive, entry) == ARCHIVE_OK ? 0 : failed(writer, error);
}

int iso_add_data(IsoWriter *writer, const void *data, size_t size, Error *error) {
    return archive_write_data(writer->archive, data, size) == (la_ssize_t)size
               ? 0
               : failed(writer, error);
}

int iso_close(IsoWriter *writer, Error *error) {
    return archive_write_close(writer->archive) == ARCHIVE_OK ? 0 : failed(writer, error);
}

void iso_free(IsoWriter *writer) {
    if (!writer)
        return;
    (void)archive_write_free(writer->archive);
    free(writer);
}
