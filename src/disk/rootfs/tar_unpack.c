/* SPDX-License-Identifier: Apache-2.0 */

/* The unpacker. It does not use libarchive's own writer, which works on the process's current
 * folder and umask, and so does not go with threads; names are resolved by openat2(2) instead:
 *
 *   - the folder that an entry goes to is opened with RESOLVE_BENEATH: no "..", absolute name or
 * link leads out, whatever the archive made before;
 *   - the last part of a name is never followed (O_EXCL, O_NOFOLLOW, the *at calls);
 *   - a hard link's target is opened the same way; a symbolic link may be absolute, as root file
 * systems need, but a relative one must stay inside.
 *
 * Whatever is refused is an error that names the entry. Folders get their modes and times at the
 * end, the last first, since a folder must stay writable, and its time changes, while things are
 * made in it. */

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "disk/rootfs/tar_attributes.h"
#include "disk/rootfs/tar_unpack.h"
#include "disk/sparse.h"
#include "disk/tar.h"

#define NAME_BYTES_MAX 4095
#define DEPTH_MAX 256

typedef struct LateFolder {
    char *name; /* owned */
    UnpackMeta meta;
} LateFolder;

typedef struct Unpack {
    const UnpackOptions *options; /* borrowed */
    TarReader reader;
    FILE *state;         /* owned; NULL as root */
    LateFolder *folders; /* owned */
    size_t n_folders, room;
    uint64_t bytes, entries;
} Unpack;

/* ---- names ---- */

static int refuse(Error *error, const char *why) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "%s", why);
}

/* Brings a name into the form "a/b/c" ("" for the root itself); "..", absolute and overlong ones
 * are refused. */
static int clean_name(const char *name, char **clean, Error *error) {
    _cleanup_(strbuf_free) StrBuf buffer = {0};
    unsigned depth = 0;
    size_t length;
    if (!name || strlen(name) > NAME_BYTES_MAX)
        return refuse(error, "name too long, or none");
    if (name[0] == '/')
        return refuse(error, "absolute name");
    for (const char *p = name; *p; p += length) {
        length = strcspn(p, "/");
        if (length == 2 && strncmp(p, "..", 2) == 0)
            return refuse(error, "\"..\" in the name leads out of the root");
        if (length > 0 && !(length == 1 && *p == '.')) {
            if (++depth > DEPTH_MAX)
                return refuse(error, "folders nested too deeply");
            if (buffer.size > 0)
                strbuf_add(&buffer, "/", 1);
            strbuf_add(&buffer, p, length);
        }
        length += p[length] == '/';
    }
    *clean = strbuf_steal(&buffer);
    return 0;
}

/* Does a relative target of a link at `name` stay below the root? */
static bool link_stays_inside(const char *name, const char *target) {
    long depth = 0;
    size_t length;
    for (const char *p = name; *p; p++)
        depth += *p == '/';
    for (const char *p = target; *p && depth >= 0; p += length) {
        length = strcspn(p, "/");
        if (length == 2 && strncmp(p, "..", 2) == 0)
            depth--;
        else if (length > 0 && !(length == 1 && *p == '.'))
            depth++;
        length += p[length] == '/';
    }
    return depth >= 0;
}

static int open_beneath(int folder_fd, const char *name, uint64_t flags) {
    struct open_how how = {.flags = flags | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd;
    do
        fd = syscall(SYS_openat2, folder_fd, *name ? name : ".", &how, sizeof(how));
    while (fd < 0 && errno == EAGAIN);
    return fd < 0 ? -errno : (int)fd;
}

static int open_error(int r, const char *what, Error *error) {
    if (r == -EXDEV || r == -ELOOP)
        return refuse(error, "a link on the way leads out of the root");
    if (r == -ENOTDIR)
        return refuse(error, "something on the way is no folder");
    return error_set_errno(error, -r, "cannot open %s", what);
}

/* Folders that the archive did not name itself belong to root. */
static int make_parents(Unpack *unpack, const char *parent, Error *error) {
    _cleanup_free_ char *path = str_copy(parent);
    int fd, r;
    for (char *slash = path; slash; slash = slash ? slash + 1 : NULL) {
        slash = strchr(slash, '/');
        if (slash)
            *slash = '\0';
        r = mkdirat(unpack->options->folder_fd, path, 0755) < 0 ? -errno : 0;
        if (r == 0 &&
            fchmodat(unpack->options->folder_fd, path, 0755, 0) < 0) /* whatever the umask */
            r = -errno;
        if (r < 0 && r != -EEXIST)
            return error_set_errno(error, -r, "cannot make folder %s", path);
        fd = open_beneath(unpack->options->folder_fd, path, O_PATH | O_DIRECTORY);
        if (fd < 0)
            return open_error(fd, path, error);
        (void)fd_close(fd);
        if (slash)
            *slash = '/';
        else
            break;
    }
    return 0;
}

/* Opens the folder that holds `name`; *base borrows from it. */
static int open_parent(Unpack *unpack, const char *name, int *parent_fd, const char **base,
                       Error *error) {
    const char *slash = strrchr(name, '/');
    _cleanup_free_ char *parent = slash ? strndup(name, (size_t)(slash - name)) : str_copy("");
    int fd, r;
    fd = open_beneath(unpack->options->folder_fd, parent, O_PATH | O_DIRECTORY);
    if (fd == -ENOENT) {
        r = make_parents(unpack, parent, error);
        if (r < 0)
            return r;
        fd = open_beneath(unpack->options->folder_fd, parent, O_PATH | O_DIRECTORY);
    }
    if (fd < 0)
        return open_error(fd, parent, error);
    *parent_fd = fd;
    *base = slash ? slash + 1 : name;
    return 0;
}

/* ---- making ---- */

static int write_blocks(Unpack *unpack, int fd, uint64_t size, Error *error) {
    const void *data;
    size_t length;
    la_int64_t offset;
    int r;
    for (;;) {
        r = archive_read_data_block(unpack->reader.archive, &data, &length, &offset);
        if (r == ARCHIVE_EOF)
            return 0;
        if (r != ARCHIVE_OK)
            return tar_reader_error(&unpack->reader, error);
        if (offset < 0 || (uint64_t)offset > size || length > size - (uint64_t)offset)
            return refuse(error, "data behind the end of the file");
        r = sparse_write(fd, data, length, (uint64_t)offset, NULL);
        if (r < 0)
            return error_set_errno(error, -r, "cannot write");
    }
}

static int make_file(Unpack *unpack, int parent_fd, const char *base, struct archive_entry *entry,
                     Error *error) {
    uint64_t size = archive_entry_size(entry) > 0 ? (uint64_t)archive_entry_size(entry) : 0;
    _cleanup_close_ int fd = -1;
    if (size > unpack->options->max_bytes - unpack->bytes) {
        error_set(error, ERROR_CORRUPT, EFBIG, "more than the %llu bytes allowed in all",
                  (unsigned long long)unpack->options->max_bytes);
        error_set_hint(error, "is it an archive bomb? Otherwise make room on the file system");
        return -EFBIG;
    }
    unpack->bytes += size;
    fd = openat(parent_fd, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot make the file");
    if (ftruncate(fd, (off_t)size) < 0)
        return error_set_errno(error, errno, "cannot set the file's size");
    return write_blocks(unpack, fd, size, error);
}

static int make_hard_link(Unpack *unpack, int parent_fd, const char *base, const char *target,
                          Error *error) {
    _cleanup_free_ char *clean = NULL;
    _cleanup_close_ int target_fd = -1;
    const char *target_base = NULL;
    int r;
    r = clean_name(target, &clean, error);
    if (r >= 0)
        r = open_parent(unpack, clean, &target_fd, &target_base, error);
    if (r < 0)
        return error_add_context(error, "hard link to %s", target);
    if (linkat(target_fd, target_base, parent_fd, base, 0) == 0)
        return 0;
    if (errno == ENOENT || errno == EPERM)
        return error_set(error, ERROR_CORRUPT, EBADMSG,
                         "hard link to %s, which is no file that is there", clean);
    return error_set_errno(error, errno, "cannot make a hard link to %s", clean);
}

static int make_symlink(int parent_fd, const char *base, const char *name, const char *target,
                        Error *error) {
    if (!target || !*target || strlen(target) > NAME_BYTES_MAX)
        return refuse(error, "symbolic link to nothing");
    if (*target != '/' && !link_stays_inside(name, target))
        return error_set(error, ERROR_CORRUPT, EBADMSG, "symbolic link to %s leads out of the root",
                         target);
    if (symlinkat(target, parent_fd, base) < 0)
        return error_set_errno(error, errno, "cannot make the symbolic link");
    return 0;
}

/* Not as root a device is an empty file, which the state file turns into the device. */
static int make_special(Unpack *unpack, int parent_fd, const char *base, const UnpackMeta *meta,
                        Error *error) {
    mode_t type = unpack->state ? S_IFREG : (meta->mode & S_IFMT);
    if (mknodat(parent_fd, base, type | 0600, unpack->state ? 0 : meta->device) < 0)
        return error_set_errno(error, errno, "cannot make the device, pipe or socket");
    return 0;
}

static int make_folder(int parent_fd, const char *base, Error *error) {
    if (mkdirat(parent_fd, base, 0700) < 0 && errno != EEXIST)
        return error_set_errno(error, errno, "cannot make the folder");
    return 0;
}

static void add_late_folder(Unpack *unpack, const char *name, const UnpackMeta *meta) {
    if (unpack->n_folders == unpack->room) {
        unpack->room = unpack->room ? unpack->room * 2 : 256;
        unpack->folders = reallocarray(unpack->folders, unpack->room, sizeof(LateFolder));
        if (!unpack->folders)
            abort();
    }
    unpack->folders[unpack->n_folders++] = (LateFolder){.name = str_copy(name), .meta = *meta};
}

/* A later entry of the same name replaces the earlier one, except that a folder stays. */
static int remove_existing(int parent_fd, const char *base, bool folder_comes, Error *error) {
    struct stat status;
    if (fstatat(parent_fd, base, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : error_set_errno(error, errno, "cannot look at the place");
    if (S_ISDIR(status.st_mode))
        return folder_comes ? 0 : refuse(error, "replaces a folder");
    if (unlinkat(parent_fd, base, 0) < 0)
        return error_set_errno(error, errno, "cannot replace what is there");
    return 0;
}

static int make_by_type(Unpack *unpack, int parent_fd, const char *base, const char *name,
                        const UnpackMeta *meta, struct archive_entry *entry, Error *error) {
    switch (meta->mode & S_IFMT) {
    case S_IFREG:
        return make_file(unpack, parent_fd, base, entry, error);
    case S_IFDIR:
        return make_folder(parent_fd, base, error);
    case S_IFLNK:
        return make_symlink(parent_fd, base, name, archive_entry_symlink(entry), error);
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        return make_special(unpack, parent_fd, base, meta, error);
    default:
        return refuse(error, "unknown type of entry");
    }
}

static int make_entry(Unpack *unpack, const char *name, struct archive_entry *entry, Error *error) {
    _cleanup_close_ int parent_fd = -1;
    const char *base = NULL;
    UnpackMeta meta;
    int r;
    unpack_meta_read(entry, &meta);
    if (*name == '\0') { /* the root itself */
        if (!archive_entry_hardlink(entry) && S_ISDIR(meta.mode))
            return add_late_folder(unpack, ".", &meta), 0;
        return refuse(error, "the root is no folder");
    }
    r = open_parent(unpack, name, &parent_fd, &base, error);
    if (r >= 0)
        r = remove_existing(parent_fd, base, S_ISDIR(meta.mode) && !archive_entry_hardlink(entry),
                            error);
    if (r < 0)
        return r;
    if (archive_entry_hardlink(entry))
        return make_hard_link(unpack, parent_fd, base, archive_entry_hardlink(entry), error);
    r = make_by_type(unpack, parent_fd, base, name, &meta, entry, error);
    if (r < 0)
        return r;
    if (S_ISDIR(meta.mode)) {
        add_late_folder(unpack, name, &meta);
        meta.mode = S_IFDIR | 0700; /* until the end */
        return unpack_meta_apply(parent_fd, base, &meta, entry, unpack->state, error);
    }
    return unpack_meta_apply(parent_fd, base, &meta, entry, unpack->state, error);
}

/* ---- the whole ---- */

static int check_bounds(Unpack *unpack, Error *error) {
    const UnpackOptions *options = unpack->options;
    struct pollfd item = {.fd = options->cancel_fd, .events = POLLIN | POLLRDHUP};
    uint64_t done, total;
    if (++unpack->entries > options->max_entries)
        return error_set(error, ERROR_CORRUPT, E2BIG, "more than %llu entries",
                         (unsigned long long)options->max_entries);
    if (options->cancel_fd >= 0 && poll(&item, 1, 0) > 0)
        return error_set(error, ERROR_CANCELLED, ECANCELED, "unpacking was cancelled");
    if (options->progress && unpack->entries % 256 == 0) {
        source_progress(unpack->reader.source, &done, &total);
        options->progress(options->progress_data, done, total);
    }
    return 0;
}

static int unpack_entries(Unpack *unpack, Error *error) {
    struct archive_entry *entry;
    int r;
    while ((r = tar_reader_next(&unpack->reader, &entry, error)) > 0) {
        const char *said = archive_entry_pathname(entry);
        _cleanup_free_ char *name = NULL,
                            *shown = str_sanitize(said ? said : "", said ? strlen(said) : 0);
        r = check_bounds(unpack, error);
        if (r < 0)
            return r;
        r = clean_name(said, &name, error);
        if (r >= 0)
            r = make_entry(unpack, name, entry, error);
        if (r < 0)
            return error_add_context(error, "entry %s", shown);
    }
    return r;
}

static int finish_folders(Unpack *unpack, Error *error) {
    _cleanup_close_ int parent_fd = -1;
    const LateFolder *folder;
    int r = 0;
    for (size_t i = unpack->n_folders; i > 0 && r >= 0; i--) {
        folder = &unpack->folders[i - 1];
        parent_fd = fd_close(parent_fd);
        parent_fd = open_beneath(unpack->options->folder_fd, folder->name,
                                 O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (parent_fd < 0)
            return open_error(parent_fd, folder->name, error);
        r = unpack_meta_apply(parent_fd, ".", &folder->meta, NULL, unpack->state, error);
    }
    return r;
}

static void unpack_free(Unpack *unpack) {
    tar_reader_close(&unpack->reader);
    if (unpack->state)
        (void)fclose(unpack->state);
    for (size_t i = 0; i < unpack->n_folders; i++)
        free(unpack->folders[i].name);
    free(unpack->folders);
}

static int close_state(Unpack *unpack, Error *error) {
    FILE *state = TAKE_PTR(unpack->state);
    if (state && fclose(state) != 0)
        return error_set_errno(error, errno, "cannot write scratch");
    return 0;
}

int unpack_tar(ExtractSource *source, const UnpackOptions *options, Error *error) {
    _cleanup_(unpack_free) Unpack unpack = {.options = options};
    int r;
    if (options->state_path) {
        unpack.state = fopen(options->state_path, "we");
        if (!unpack.state)
            return error_set_errno(error, errno, "cannot make scratch %s", options->state_path);
    }
    r = tar_reader_open(&unpack.reader, source, error);
    if (r >= 0)
        r = unpack_entries(&unpack, error);
    if (r >= 0)
        r = tar_reader_drain(&unpack.reader, error);
    if (r >= 0)
        r = finish_folders(&unpack, error);
    if (r >= 0)
        r = close_state(&unpack, error);
    return r;
}
