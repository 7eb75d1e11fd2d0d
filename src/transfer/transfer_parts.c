/* SPDX-License-Identifier: Apache-2.0 */

#include "transfer/transfer_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "disk/base_file.h"
#include "home/inside.h"

#define ROOM_LEFT (64 * MIB)

json_t *transfer_manifest(const char *kind) {
    _cleanup_free_ char *now = clock_format_realtime(clock_realtime_usec());
    return json_pack("{s:s, s:s, s:s}", "kind", kind, "ramet", RAMET_VERSION, "exported_at", now);
}

int transfer_open(ArchiveReader *reader, int fd, const char *kind, Error *error) {
    const char *found;
    int r = archive_reader_open(reader, fd, error);
    if (r < 0)
        return r;
    found = json_string_value(json_object_get(reader->manifest, "kind"));
    if (str_equal(found, kind))
        return 0;
    if (!str_equal(found, "image") && !str_equal(found, "snapshot"))
        return error_set(error, ERROR_CORRUPT, EBADMSG,
                         "the archive does not say whether it holds an image or a snapshot");
    error_set(error, ERROR_USAGE, EINVAL, "the archive holds a%s %s, no %s",
              str_equal(found, "image") ? "n" : "", found, kind);
    error_set_hint(error, "ramet %s import", found);
    return -EINVAL;
}

int transfer_check_room(Home *home, const ArchiveReader *reader, Error *error) {
    uint64_t wanted = 0, left;
    struct statvfs info;
    for (size_t i = 0; i < reader->members.count; i++)
        if (reader->members.items[i].wanted)
            wanted += reader->members.items[i].data_bytes;
    if (statvfs(home->path, &info) < 0)
        return 0;
    left = (uint64_t)info.f_bavail * info.f_frsize;
    if (wanted + ROOM_LEFT <= left)
        return 0;
    error_set(error, ERROR_NO_SPACE, ENOSPC,
              "no room for the archive's content (%llu MiB, %llu free)",
              (unsigned long long)(wanted / MIB), (unsigned long long)(left / MIB));
    error_set_hint(error, "see ramet df, and ramet prune");
    return -ENOSPC;
}

static void tell(void *data, uint64_t done_bytes, uint64_t total_bytes) {
    operation_progress(data, "reading the archive", done_bytes, total_bytes);
}

int transfer_run(ArchiveReader *reader, Operation *operation, Error *error) {
    const ArchiveReadOptions options = {
        .cancel_fd = operation->cancel_fd, .progress = tell, .data = operation};
    return archive_reader_run(reader, &options, error);
}

int transfer_add_base(ArchiveMembers *members, const char *path, const char *digest, int cancel_fd,
                      Error *error) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    return archive_members_add(members, TRANSFER_BASE, fd,
                               str_has_prefix(digest, TREE_DIGEST_PREFIX) ? digest : NULL,
                               cancel_fd, error);
}
