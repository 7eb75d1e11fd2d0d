/* SPDX-License-Identifier: Apache-2.0 */

#include "transfer/transfer_disks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "disk/base_file.h"
#include "home/inside.h"
#include "storage/bases.h"

static char *member_name(size_t index) {
    return str_format("seed-%zu", index + 1);
}

int transfer_base_add(Home *home, ArchiveMembers *members, size_t index, const char *base,
                      bool stored, int cancel_fd, char digest[TREE_DIGEST_SIZE], Error *error) {
    _cleanup_free_ char *path = seed_base_path(home->path, base), *name = member_name(index);
    bool known = str_has_prefix(base, TREE_DIGEST_PREFIX);
    _cleanup_archive_file_ ArchiveFile file = ARCHIVE_FILE_INIT;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int r = fd < 0 ? error_set_errno(error, errno, "cannot open %s", path)
                   : archive_file_of_fd(&file, fd, error);
    if (r >= 0 && !known) /* a copy of a volume */
        r = archive_file_digest(&file, cancel_fd, digest, error);
    if (r < 0)
        return r;
    if (known)
        (void)snprintf(digest, TREE_DIGEST_SIZE, "%s", base);
    if (!stored)
        return 0;
    fd = file.fd;
    file.fd = -1;
    return archive_members_add(members, name, fd, digest, cancel_fd, error);
}

/* ---- arriving ---- */

void transfer_bases_begin(Home *home, TransferBases *bases) {
    *bases = (TransferBases){.home = home};
    bases_hold(home);
}

void transfer_bases_end(TransferBases *bases) {
    if (!bases->home)
        return;
    for (size_t i = 0; i < bases->count; i++)
        publish_free(bases->items[i].publish);
    bases_release(bases->home);
    bases_collect(bases->home);
    bases->home = NULL;
}

static bool is_digest(const char *text) {
    uint8_t bytes[SHA256_SIZE];
    return str_has_prefix(text, TREE_DIGEST_PREFIX) &&
           hex_decode(text + strlen(TREE_DIGEST_PREFIX), bytes, sizeof(bytes)) == 0;
}

int transfer_bases_want(TransferBases *bases, ArchiveReader *reader, const char *digest,
                        int cancel_fd, Error *error) {
    size_t i = bases->count;
    _cleanup_free_ char *name = member_name(i);
    ArchiveMember *member = archive_members_find(&reader->members, name);
    int r;
    if (i == VM_MOUNTS_MAX || !is_digest(digest) ||
        (member && (!str_equal(member->digest, digest) || member->file.n_parts > 0)))
        return archive_manifest_damaged(error, "a disk beside the root");
    bases->count++;
    str_set(bases->items[i].digest, digest);
    if (base_bytes(bases->home, digest, &bases->items[i].bytes) >= 0)
        return 0;
    if (!member)
        return error_set(error, ERROR_NOT_FOUND, ENOENT,
                         "the archive stands on a disk beside the root (%.22s) that is not here",
                         digest);
    bases->items[i].bytes = member->file.bytes;
    r = base_begin(bases->home, cancel_fd, &bases->items[i].publish, error);
    return r < 0 ? r
                 : archive_member_want(member, publish_scratch_fd(bases->items[i].publish), error);
}

int transfer_bases_finish(TransferBases *bases, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < bases->count; i++)
        if (bases->items[i].publish)
            r = base_publish(bases->items[i].publish, bases->items[i].digest, error);
    return r;
}
