/* SPDX-License-Identifier: Apache-2.0 */

#include "archive/archive_member.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"

#define FILES_MAX 65536
#define BYTES_MAX ((uint64_t)1 << 50)

void archive_members_free(ArchiveMembers *members) {
    for (size_t i = 0; i < members->count; i++)
        archive_file_free(&members->items[i].file);
    members->count = 0;
}

ArchiveMember *archive_members_find(ArchiveMembers *members, const char *name) {
    for (size_t i = 0; i < members->count; i++)
        if (str_equal(members->items[i].name, name))
            return &members->items[i];
    return NULL;
}

/* ---- adding ---- */

static uint64_t count_data(const ArchiveFile *file) {
    uint64_t sum = 0, start, end;
    if (file->n_parts > 0)
        return file->bytes;
    for (uint64_t at = 0; at < file->bytes; at = end) {
        fd_find_data(file->fd, at, file->bytes, &start, &end);
        sum += end - start;
    }
    /* an extent may begin within a page that is sent whole */
    return MIN_OF(file->bytes, (sum + 8191) / 4096 * 4096);
}

static int add(ArchiveMembers *members, const char *name, ArchiveFile *file, const char *digest,
               int cancel_fd, Error *error) {
    ArchiveMember *member = &members->items[members->count];
    int r = 0;
    if (members->count == ARCHIVE_MEMBERS_MAX)
        return error_set(error, ERROR_UNSUPPORTED, E2BIG, "it consists of more than %d files",
                         ARCHIVE_MEMBERS_MAX);
    *member = (ArchiveMember){.file = *file, .data_bytes = count_data(file)};
    *file = ARCHIVE_FILE_INIT;
    members->count++;
    str_set(member->name, name);
    if (digest)
        str_set(member->digest, digest);
    else
        r = archive_file_digest(&member->file, cancel_fd, member->digest, error);
    return r;
}

int archive_members_add(ArchiveMembers *members, const char *name, int fd, const char *digest,
                        int cancel_fd, Error *error) {
    _cleanup_archive_file_ ArchiveFile file = ARCHIVE_FILE_INIT;
    int r = archive_file_of_fd(&file, fd, error);
    return r < 0 ? r : add(members, name, &file, digest, cancel_fd, error);
}

int archive_members_add_file(ArchiveMembers *members, const char *name, ArchiveFile *file,
                             int cancel_fd, Error *error) {
    return add(members, name, file, NULL, cancel_fd, error);
}

/* ---- JSON ---- */

static json_t *files_to_json(const ArchiveFile *file) {
    json_t *list = json_array();
    for (size_t i = 0; i < file->n_parts; i++)
        (void)json_array_append_new(list, json_pack("{s:s, s:I}", "path", file->parts[i].path,
                                                    "bytes", (json_int_t)file->parts[i].bytes));
    return list;
}

json_t *archive_members_to_json(const ArchiveMembers *members) {
    json_t *list = json_array();
    for (size_t i = 0; i < members->count; i++) {
        const ArchiveMember *member = &members->items[i];
        json_t *json = json_pack("{s:s, s:I, s:I, s:s}", "name", member->name, "bytes",
                                 (json_int_t)member->file.bytes, "data_bytes",
                                 (json_int_t)member->data_bytes, "digest", member->digest);
        if (member->file.n_parts > 0)
            (void)json_object_set_new(json, "files", files_to_json(&member->file));
        (void)json_array_append_new(list, json);
    }
    return list;
}

int archive_member_want(ArchiveMember *member, int fd, Error *error) {
    member->file.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    member->wanted = true;
    return member->file.fd < 0 ? error_set_errno(error, errno, "cannot keep a descriptor") : 0;
}

int archive_manifest_damaged(Error *error, const char *what) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "the archive's manifest is damaged: %s", what);
}

bool archive_path_is_safe(const char *path) {
    if (*path == '\0' || strlen(path) > 255)
        return false;
    for (const char *part = path; part;) {
        size_t length = strcspn(part, "/");
        if (length == 0 || part[0] == '.')
            return false;
        for (size_t i = 0; i < length; i++)
            if ((unsigned char)part[i] < ' ' || part[i] == '\\')
                return false;
        part = part[length] ? part + length + 1 : NULL;
    }
    return true;
}

/* Ascending, so that none comes twice. */
static int read_files(const json_t *list, ArchiveFile *file, Error *error) {
    const char *before = "";
    const json_t *one;
    size_t i;
    if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > FILES_MAX)
        return archive_manifest_damaged(error, "files");
    json_array_foreach(list, i, one) {
        const char *path = json_string_value(json_object_get(one, "path"));
        uint64_t bytes;
        if (json_get_u64("file", one, "bytes", &bytes, NULL) < 0 || bytes > BYTES_MAX / FILES_MAX)
            return archive_manifest_damaged(error, "the size of a file");
        if (!path || !archive_path_is_safe(path) || strcmp(before, path) >= 0)
            return archive_manifest_damaged(error, "the path of a file");
        archive_file_add(file, path, bytes);
        before = path;
    }
    return 0;
}

static bool is_tree_digest(const char *text) {
    uint8_t bytes[SHA256_SIZE];
    size_t length = strlen(TREE_DIGEST_PREFIX);
    return text && str_has_prefix(text, TREE_DIGEST_PREFIX) &&
           hex_decode(text + length, bytes, sizeof(bytes)) == 0;
}

static int read_member(const json_t *json, ArchiveMembers *members, Error *error) {
    const json_t *files = json_object_get(json, "files");
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *digest = json_string_value(json_object_get(json, "digest"));
    ArchiveMember *member = &members->items[members->count];
    uint64_t bytes, data_bytes;
    *member = (ArchiveMember){.file = ARCHIVE_FILE_INIT};
    members->count++;
    if (!name || !name_is_valid(name) || archive_members_find(members, name))
        return archive_manifest_damaged(error, "the name of a member");
    if (!is_tree_digest(digest))
        return archive_manifest_damaged(error, "the digest of a member");
    if (json_get_u64("member", json, "bytes", &bytes, NULL) < 0 || bytes > BYTES_MAX ||
        json_get_u64("member", json, "data_bytes", &data_bytes, NULL) < 0 || data_bytes > bytes)
        return archive_manifest_damaged(error, "the size of a member");
    str_set(member->name, name);
    str_set(member->digest, digest);
    member->data_bytes = data_bytes;
    if (files && read_files(files, &member->file, error) < 0)
        return -EBADMSG;
    if (files && member->file.bytes != bytes)
        return archive_manifest_damaged(error, "the sizes of files");
    member->file.bytes = bytes;
    return 0;
}

int archive_members_from_json(const json_t *list, ArchiveMembers *members, Error *error) {
    const json_t *one;
    size_t i;
    int r = 0;
    members->count = 0;
    if (!json_is_array(list) || json_array_size(list) > ARCHIVE_MEMBERS_MAX)
        return archive_manifest_damaged(error, "members");
    json_array_foreach(list, i, one) {
        r = read_member(one, members, error);
        if (r < 0)
            break;
    }
    if (r < 0)
        archive_members_free(members);
    return r;
}
