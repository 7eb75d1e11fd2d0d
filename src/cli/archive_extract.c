/* SPDX-License-Identifier: Apache-2.0 */
/* The archive comes from a guest, so nothing in it is believed. Each name is checked here first
 * (relative, no "..", below the one top-level entry, which gets our name); then libarchive's disk
 * writer creates it with its own checks on, which refuse to follow symbolic links. */

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "cli/copy_archive.h"

typedef struct Extraction {
    struct archive *in;   /* owned */
    struct archive *disk; /* owned */
    const char *name;     /* borrowed; NULL: the archive's own */
    char *top;            /* owned: the archive's top-level entry; NULL before the first */
    char *target;         /* owned: where that goes, one name */
    bool existed;         /* was the target there before us? */
    Error *error;
} Extraction;

static int refuse(Extraction *extraction, const char *path, const char *why) {
    _cleanup_free_ char *clean = str_sanitize(path, strlen(path));

    return error_set(extraction->error, ERROR_CORRUPT, EBADMSG, "refused \"%s\" in the archive: %s",
                     clean, why);
}

static int failed(Extraction *extraction, struct archive *archive, const char *path) {
    int errnum = archive_errno(archive);
    const char *text = archive_error_string(archive);
    _cleanup_free_ char *clean = str_sanitize(path, strlen(path));

    return error_set(extraction->error,
                     errnum == ENOSPC   ? ERROR_NO_SPACE
                     : errnum == EACCES ? ERROR_PERMISSION
                                        : ERROR_FAILED,
                     errnum > 0 ? errnum : EIO, "cannot write %s: %s", clean,
                     text ? text : "unknown error");
}

/* Every component is a plain name. */
static bool path_is_plain(const char *path) {
    while (*path) {
        size_t n = strcspn(path, "/");

        if (n == 0 || (n == 1 && path[0] == '.') || (n == 2 && path[0] == '.' && path[1] == '.'))
            return false;
        path += n;
        if (*path == '/' && path[1])
            path++;
        else if (*path == '/')
            return true; /* a folder's slash at the end */
    }
    return true;
}

/* The first entry: names the top, and thereby the target. */
static int begin(Extraction *extraction, const char *top, struct archive_entry *entry) {
    struct stat st;

    extraction->top = str_copy(top);
    extraction->target = str_copy(extraction->name ? extraction->name : top);
    extraction->existed = lstat(extraction->target, &st) == 0;
    if (!extraction->existed || S_ISDIR(st.st_mode) == (archive_entry_filetype(entry) == AE_IFDIR))
        return 0;
    return error_set(extraction->error, ERROR_CONFLICT, EEXIST,
                     S_ISDIR(st.st_mode) ? "%s is a folder, what is copied is none"
                                         : "%s is no folder, what is copied is one",
                     extraction->target);
}

/* Checks a name of the archive and maps it to ours. */
static int map_path(Extraction *extraction, const char *path, struct archive_entry *entry,
                    char **mapped) {
    _cleanup_free_ char *top = NULL;
    const char *given = path;
    size_t n;
    int r = 0;

    if (!path || !path[0])
        return refuse(extraction, "", "an entry without a name");
    while (str_has_prefix(path, "./") && path[2])
        path += 2;
    if (!path_is_plain(path))
        return refuse(extraction, given, "it could lead out of the folder");
    n = strcspn(path, "/");
    top = str_format("%.*s", (int)n, path);
    if (!extraction->top)
        r = begin(extraction, top, entry);
    if (r < 0)
        return r;
    if (!str_equal(top, extraction->top))
        return refuse(extraction, given, "it is beside the one that was asked for");
    *mapped = str_format("%s%s", extraction->target, path + n);
    return 0;
}

static int map_entry(Extraction *extraction, struct archive_entry *entry) {
    _cleanup_free_ char *path = NULL, *link = NULL;
    const char *target = archive_entry_hardlink(entry);
    int r = map_path(extraction, archive_entry_pathname(entry), entry, &path);

    if (r == 0 && target)
        r = map_path(extraction, target, entry, &link);
    if (r < 0)
        return r;
    archive_entry_copy_pathname(entry, path);
    if (link)
        archive_entry_copy_hardlink(entry, link);
    archive_entry_set_perm(entry, archive_entry_perm(entry) & 0777);
    return 0;
}

static int copy_data(Extraction *extraction, const char *path) {
    const void *data;
    size_t size;
    la_int64_t offset;
    int r;

    while ((r = archive_read_data_block(extraction->in, &data, &size, &offset)) == ARCHIVE_OK)
        if (archive_write_data_block(extraction->disk, data, size, offset) < ARCHIVE_OK)
            return failed(extraction, extraction->disk, path);
    return r == ARCHIVE_EOF ? 0 : failed(extraction, extraction->in, path);
}

static bool is_wanted(struct archive_entry *entry) {
    mode_t type = archive_entry_filetype(entry);

    return archive_entry_hardlink(entry) || type == AE_IFREG || type == AE_IFDIR ||
           type == AE_IFLNK || type == AE_IFIFO;
}

static int extract_entry(Extraction *extraction, struct archive_entry *entry) {
    const char *path;
    int r = map_entry(extraction, entry);

    if (r < 0 || !is_wanted(entry))
        return r;
    path = archive_entry_pathname(entry);
    if (archive_write_header(extraction->disk, entry) != ARCHIVE_OK)
        return failed(extraction, extraction->disk, path);
    if (!archive_entry_hardlink(entry) && archive_entry_filetype(entry) == AE_IFREG)
        r = copy_data(extraction, path);
    if (r == 0 && archive_write_finish_entry(extraction->disk) < ARCHIVE_WARN)
        r = failed(extraction, extraction->disk, path);
    return r;
}

static int extract_all(Extraction *extraction) {
    struct archive_entry *entry;
    int r = 0;

    while (r == 0) {
        int status = archive_read_next_header(extraction->in, &entry);

        if (status == ARCHIVE_EOF)
            break;
        if (status < ARCHIVE_WARN)
            return error_set(extraction->error, ERROR_CORRUPT, EBADMSG,
                             "the archive is damaged or was cut off: %s",
                             archive_error_string(extraction->in));
        r = extract_entry(extraction, entry);
    }
    if (r == 0 && archive_write_close(extraction->disk) < ARCHIVE_WARN)
        r = failed(extraction, extraction->disk, extraction->target ? extraction->target : "it");
    if (r == 0 && !extraction->top)
        r = error_set(extraction->error, ERROR_CORRUPT, EBADMSG,
                      "nothing came: what is there is no file, folder, link or pipe");
    return r;
}

static int enter_folder(const char *folder, Error *error) {
    if (chdir(folder) == 0)
        return 0;
    return error_set_errno(error, errno, "cannot write to %s", folder);
}

int archive_extract(int in_fd, const char *folder, const char *name, Error *error) {
    Extraction extraction = {
        .in = archive_read_new(), .disk = archive_write_disk_new(), .name = name, .error = error};
    int r = enter_folder(folder, error);

    if (!extraction.in || !extraction.disk)
        abort();
    archive_read_support_format_tar(extraction.in);
    archive_write_disk_set_options(extraction.disk, ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
                                                        ARCHIVE_EXTRACT_SECURE_NODOTDOT |
                                                        ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                                                        ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
    if (r == 0 && archive_read_open_fd(extraction.in, in_fd, 64 * 1024) != ARCHIVE_OK)
        r = error_set(error, ERROR_CORRUPT, EBADMSG, "what came is no archive");
    if (r == 0)
        r = extract_all(&extraction);
    (void)archive_read_free(extraction.in);
    (void)archive_write_free(extraction.disk);
    if (r < 0 && extraction.target && !extraction.existed)
        (void)path_remove_tree_at(AT_FDCWD, extraction.target);
    free(extraction.top);
    free(extraction.target);
    return r;
}
