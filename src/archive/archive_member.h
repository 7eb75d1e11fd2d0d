/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_ARCHIVE_ARCHIVE_MEMBER_H
#define RAMET_ARCHIVE_ARCHIVE_MEMBER_H

/* Members, as the manifest lists them: {"name","bytes","data_bytes","digest"}, and "files":
 * [{"path","bytes"}] of a folder's. */

#include "archive/archive_file.h"
#include "base/json.h"

#define ARCHIVE_MEMBERS_MAX 128

typedef struct ArchiveMember {
    char name[64];
    char digest[TREE_DIGEST_SIZE];
    uint64_t data_bytes; /* at most so many bytes are no hole */
    bool wanted;         /* by the reader's caller, who gives file.fd */
    ArchiveFile file;    /* owned */
} ArchiveMember;

typedef struct ArchiveMembers {
    size_t count;
    ArchiveMember items[ARCHIVE_MEMBERS_MAX];
} ArchiveMembers;

void archive_members_free(ArchiveMembers *members);
#define _cleanup_archive_members_ _cleanup_(archive_members_free)

/* Adds a member of one file, whose descriptor is taken over. digest NULL: it is computed.
 * ERROR_UNSUPPORTED when there are too many. */
int archive_members_add(ArchiveMembers *members, const char *name, int fd, const char *digest,
                        int cancel_fd, Error *error);

/* Adds one made of a folder's files, or with another head; takes the file over. */
int archive_members_add_file(ArchiveMembers *members, const char *name, ArchiveFile *file,
                             int cancel_fd, Error *error);

/* By its name, or NULL. Borrowed. */
ArchiveMember *archive_members_find(ArchiveMembers *members, const char *name);

/* What is read of it goes to a file of the caller's: keeps a descriptor of its own. */
int archive_member_want(ArchiveMember *member, int fd, Error *error);

/* Sets ERROR_CORRUPT, "the archive's manifest is damaged: WHAT", and returns -EBADMSG. */
int archive_manifest_damaged(Error *error, const char *what);

/* The list, the caller's; and from a manifest, in which nothing is believed: ERROR_CORRUPT. */
json_t *archive_members_to_json(const ArchiveMembers *members);
int archive_members_from_json(const json_t *list, ArchiveMembers *members, Error *error);

/* Is it a relative path that stays below a folder, of at most 255 bytes? */
bool archive_path_is_safe(const char *path);

#endif
