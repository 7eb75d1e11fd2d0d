/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/tar_take.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/tar.h"

static int copy_data(TarReader *reader, int fd, int cancel_fd, Error *error) {
    const void *bytes;
    size_t size;
    la_int64_t offset;
    int r;
    while ((r = archive_read_data_block(reader->archive, &bytes, &size, &offset)) == ARCHIVE_OK) {
        if (fd_is_cancelled(cancel_fd))
            return error_set(error, ERROR_CANCELLED, ECANCELED, "cancelled");
        if (lseek(fd, offset, SEEK_SET) < 0)
            return error_set_errno(error, errno, "cannot write scratch");
        r = fd_write_full(fd, bytes, size);
        if (r < 0)
            return error_set_errno(error, -r, "cannot write scratch");
    }
    return r == ARCHIVE_EOF ? 0 : tar_reader_error(reader, error);
}

static int take_file(TarReader *reader, const char *folder, const char *name, int cancel_fd,
                     Error *error) {
    _cleanup_free_ char *path = path_join(folder, name);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "%s stands in it twice", name);
    return fd < 0 ? error_set_errno(error, errno, "cannot make scratch %s", path)
                  : copy_data(reader, fd, cancel_fd, error);
}

int tar_take(ExtractSource *source, const char *folder, bool (*wanted)(const char *name),
             int cancel_fd, Error *error) {
    struct archive_entry *entry;
    TarReader reader;
    int r = tar_reader_open(&reader, source, error);
    while (r >= 0 && (r = tar_reader_next(&reader, &entry, error)) > 0) {
        const char *name = str_or_empty(archive_entry_pathname(entry));
        name += str_has_prefix(name, "./") ? 2 : 0;
        if (archive_entry_filetype(entry) == AE_IFREG && !archive_entry_hardlink(entry) &&
            wanted(name))
            r = take_file(&reader, folder, name, cancel_fd, error);
    }
    tar_reader_close(&reader);
    return r;
}
