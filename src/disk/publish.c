/* SPDX-License-Identifier: Apache-2.0 */

/* Publish-once.
 *
 *   look → lock → look again → scratch below tmp/ → (the caller writes) → fsync, chmod → rename →
 * fsync
 *
 * Invariants: what stands under a final name is complete and durable, since the content is synced
 * before the rename and the rename never replaces anything. Who holds the lock is the only one who
 * builds. The lock is an open file description's (lock.h), so the end of the process frees it; what
 * a killed builder leaves is scratch below tmp/, which the daemon empties at start. A failure at
 * any step removes the scratch. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/publish.h"

#define NAME_MAX_BYTES 200 /* leaves room for the kind and ".lock" in the 255 of a file name */
#define DEPTH_MAX 64

struct Publish {
    char *home;     /* owned */
    char *kind;     /* owned */
    char *name;     /* owned */
    char *scratch;  /* owned path; NULL once it is published or removed */
    char *target;   /* owned path; NULL until it is published */
    StrList extras; /* further scratch paths */
    int scratch_fd; /* owned */
    int lock_fd;    /* owned */
    bool folder;
};

char *scratch_name(const char *prefix) {
    _cleanup_free_ char *random = random_hex(8);
    return str_format("%s-%d-%d-%s", prefix, (int)getpid(), (int)gettid(), random);
}

static int check_part(const char *what, const char *name, Error *error) {
    if (!name || !*name || *name == '.' || strchr(name, '/') || strlen(name) > NAME_MAX_BYTES)
        return error_set(error, ERROR_USAGE, EINVAL, "bad %s to publish: \"%s\"", what,
                         name ? name : "");
    return 0;
}

/* ---- durability ---- */

typedef int (*TreeVisitor)(int fd, const struct stat *status, const char *name, Error *error);

/* Calls the visitor for each regular file, then for its folder, from the inside out. Links and
 * other special files have no content of their own to care for. */
static int tree_visit(int folder_fd, unsigned depth, TreeVisitor visitor, Error *error);

static int tree_visit_entry(int folder_fd, const char *name, unsigned depth, TreeVisitor visitor,
                            Error *error) {
    _cleanup_close_ int fd = -1;
    struct stat status;
    if (fstatat(folder_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set_errno(error, errno, "cannot look at %s", name);
    if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
        return 0;
    fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", name);
    if (S_ISDIR(status.st_mode))
        return tree_visit(fd, depth + 1, visitor, error);
    return visitor(fd, &status, name, error);
}

static void closedir_p(DIR **stream) {
    if (*stream)
        (void)closedir(*stream);
}

static int tree_visit(int folder_fd, unsigned depth, TreeVisitor visitor, Error *error) {
    _cleanup_(closedir_p) DIR *stream = NULL;
    struct stat status;
    struct dirent *entry;
    int fd, r;
    if (depth > DEPTH_MAX)
        return error_set(error, ERROR_CORRUPT, ELOOP, "folders nested deeper than %d", DEPTH_MAX);
    fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open a folder");
    stream = fdopendir(fd);
    if (!stream) {
        fd_close(fd);
        return error_set_errno(error, errno, "cannot read a folder");
    }
    for (errno = 0; (entry = readdir(stream)); errno = 0) {
        if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
            continue;
        r = tree_visit_entry(folder_fd, entry->d_name, depth, visitor, error);
        if (r < 0)
            return r;
    }
    if (errno != 0)
        return error_set_errno(error, errno, "cannot read a folder");
    if (fstat(folder_fd, &status) < 0)
        return error_set_errno(error, errno, "cannot look at a folder");
    return visitor(folder_fd, &status, "folder", error);
}

/* Starting the writing of all before waiting for any makes one journal commit of many. */
static int start_writeback(int fd, const struct stat *status, const char *name, Error *error) {
    if (S_ISREG(status->st_mode))
        (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return 0;
}

static int sync_one(int fd, const struct stat *status, const char *name, Error *error) {
    if (fsync(fd) < 0)
        return error_set_errno(error, errno, "cannot make %s durable", name);
    return 0;
}

static int freeze_one(int fd, const struct stat *status, const char *name, Error *error) {
    mode_t mode = S_ISDIR(status->st_mode) ? 0755 : (status->st_mode & 0111) ? 0555 : 0444;
    if (fchmod(fd, mode) < 0)
        return error_set_errno(error, errno, "cannot make %s read-only", name);
    return start_writeback(fd, status, name, error);
}

static int visit_any(int fd, TreeVisitor visitor, Error *error) {
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set_errno(error, errno, "cannot look at a file");
    if (S_ISDIR(status.st_mode))
        return tree_visit(fd, 0, visitor, error);
    return visitor(fd, &status, "file", error);
}

static int freeze_tree(int fd, Error *error) {
    int r = visit_any(fd, freeze_one, error);
    return r < 0 ? r : visit_any(fd, sync_one, error);
}

/* ---- beginning ---- */

static int make_folder(const char *home, const char *name, mode_t mode, Error *error) {
    _cleanup_free_ char *path = path_join(home, name);
    int r;
    if (access(path, F_OK) == 0)
        return 0;
    r = path_make_folders(path, mode);
    if (r >= 0)
        r = path_sync_folder(home);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make folder %s", path);
    return 0;
}

static int make_folders(const char *home, const char *kind, Error *error) {
    int r = make_folder(home, kind, 0755, error);
    if (r >= 0)
        r = make_folder(home, "locks", 0700, error);
    if (r >= 0)
        r = make_folder(home, "tmp", 0700, error);
    return r;
}

static int check_exists(const PublishOptions *options, bool *exists, Error *error) {
    _cleanup_free_ char *path = NULL;
    if (options->check)
        return options->check(options->data, exists, error);
    path = path_join(options->home, options->kind, options->name);
    if (access(path, F_OK) == 0)
        *exists = true;
    else if (errno == ENOENT)
        *exists = false;
    else
        return error_set_errno(error, errno, "cannot look for %s", path);
    return 0;
}

static int lock(const PublishOptions *options, int *fd, Error *error) {
    _cleanup_free_ char *folder = path_join(options->home, "locks");
    _cleanup_free_ char *key = str_format("%s-%s", options->kind, options->name);
    uint64_t deadline_usec = options->deadline_usec ? options->deadline_usec : UINT64_MAX;
    return lock_acquire(folder, key, deadline_usec, options->cancel_fd, fd, error);
}

static int make_scratch(Publish *publish, Error *error) {
    _cleanup_free_ char *name = scratch_name(publish->kind);
    _cleanup_free_ char *path = path_join(publish->home, "tmp", name);
    int fd;
    if (publish->folder) {
        if (mkdir(path, 0700) < 0)
            return error_set_errno(error, errno, "cannot make scratch folder %s", path);
        publish->scratch = TAKE_PTR(path);
        fd = open(publish->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } else {
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0)
            publish->scratch = TAKE_PTR(path);
    }
    if (fd < 0)
        return error_set_errno(error, errno, "cannot make scratch in %s/tmp", publish->home);
    publish->scratch_fd = fd;
    return 0;
}

static Publish *publish_new(const PublishOptions *options) {
    Publish *publish = calloc(1, sizeof(*publish));
    if (!publish)
        abort();
    publish->home = str_copy(options->home);
    publish->kind = str_copy(options->kind);
    publish->name = str_copy(options->name);
    publish->folder = options->folder;
    publish->scratch_fd = -1;
    publish->lock_fd = -1;
    return publish;
}

int publish_begin(const PublishOptions *options, Publish **publish, bool *exists, Error *error) {
    _cleanup_(publish_free_p) Publish *new = NULL;
    bool found = false;
    int r;
    r = check_part("kind", options->kind, error);
    if (r >= 0)
        r = check_part("name", options->name, error);
    if (r >= 0)
        r = make_folders(options->home, options->kind, error);
    if (r >= 0)
        r = check_exists(options, &found, error);
    if (r >= 0 && !found) {
        new = publish_new(options);
        r = lock(options, &new->lock_fd, error);
        if (r >= 0)
            r = check_exists(options, &found, error);
        if (r >= 0 && !found)
            r = make_scratch(new, error);
    }
    if (r < 0)
        return r;
    *publish = found ? NULL : TAKE_PTR(new);
    *exists = found;
    return 0;
}

const char *publish_scratch_path(const Publish *publish) {
    return publish->scratch;
}

int publish_scratch_fd(const Publish *publish) {
    return publish->scratch_fd;
}

const char *publish_extra_scratch(Publish *publish) {
    _cleanup_free_ char *name = scratch_name("extra");
    _cleanup_free_ char *path = path_join(publish->home, "tmp", name);
    strlist_add(&publish->extras, path);
    return publish->extras.items[publish->extras.count - 1];
}

/* ---- commit ---- */

/* rename(2) that never replaces. File systems without RENAME_NOREPLACE (EINVAL) get link(2), which
 * does not replace either; a folder's rename fails there over anything but an empty folder. */
static int rename_new(const char *from, const char *to, bool folder) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL)
        return -errno;
    if (folder)
        return rename(from, to) == 0 ? 0 : -errno;
    if (link(from, to) < 0)
        return -errno;
    (void)unlink(from);
    return 0;
}

/* The name is taken: by one who made the same under another lock. */
static int accept_existing(const Publish *publish, const char *target, Error *error) {
    struct stat ours, theirs;
    if (stat(target, &theirs) < 0 || fstat(publish->scratch_fd, &ours) < 0)
        return error_set_errno(error, errno, "cannot look at %s", target);
    if (S_ISDIR(ours.st_mode) == S_ISDIR(theirs.st_mode) &&
        (publish->folder || ours.st_size == theirs.st_size))
        return 0;
    error_set(error, ERROR_CORRUPT, EEXIST,
              "%s exists with other content (%lld bytes, expected %lld)", target,
              (long long)theirs.st_size, (long long)ours.st_size);
    error_set_hint(error,
                   "it was damaged from outside: remove it when no VM uses it, then try again");
    return -EEXIST;
}

static void remove_scratch(Publish *publish) {
    if (!publish->scratch)
        return;
    if (path_remove_tree(publish->scratch) < 0)
        log_debug("cannot remove scratch %s", publish->scratch);
    free(TAKE_PTR(publish->scratch));
}

static int move_in_place(Publish *publish, const char *target, Error *error) {
    int r = rename_new(publish->scratch, target, publish->folder);
    if (r >= 0) {
        free(TAKE_PTR(publish->scratch));
        return 0;
    }
    if (r != -EEXIST && r != -ENOTEMPTY)
        return error_set_errno(error, -r, "cannot publish %s", target);
    r = accept_existing(publish, target, error);
    if (r >= 0)
        remove_scratch(publish);
    return r;
}

int publish_commit_as(Publish *publish, const char *name, Error *error) {
    _cleanup_free_ char *target = NULL, *folder = NULL;
    int r;
    r = check_part("name", name, error);
    if (r < 0)
        return r;
    folder = path_join(publish->home, publish->kind);
    target = path_join(folder, name);
    r = freeze_tree(publish->scratch_fd, error);
    if (r < 0)
        return error_add_context(error, "cannot publish %s", target);
    r = move_in_place(publish, target, error);
    if (r < 0)
        return r;
    r = path_sync_folder(folder);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make %s durable", folder);
    publish->target = TAKE_PTR(target);
    publish->lock_fd = fd_close(publish->lock_fd);
    return 0;
}

int publish_commit(Publish *publish, Error *error) {
    return publish_commit_as(publish, publish->name, error);
}

const char *publish_path(const Publish *publish) {
    return publish->target;
}

void publish_free(Publish *publish) {
    if (!publish)
        return;
    remove_scratch(publish);
    for (size_t i = 0; i < publish->extras.count; i++)
        (void)path_remove_tree(publish->extras.items[i]);
    strlist_free(&publish->extras);
    (void)fd_close(publish->scratch_fd);
    (void)fd_close(publish->lock_fd); /* last: nobody begins before the scratch is gone */
    free(publish->home);
    free(publish->kind);
    free(publish->name);
    free(publish->target);
    free(publish);
}
