/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: the archive's names are hostile. Each is cut into components; "..", absolute names
 * and anything too long is refused; then every folder on the way is opened one by one below the
 * destination, never through a symbolic link (place.c). So nothing outside the destination can be
 * reached, whatever links the archive made before.
 *
 * Where it goes, as with `cp -r`: into PATH when that is a folder; else the archive's top entry
 * takes the name of PATH, whose parent must be there. An archive of "." puts its contents into
 * PATH.
 *
 * A file that cannot be completed is removed again. Modes and times of new folders are set at the
 * end, since a read-only folder could not be filled. */

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/copy.h"
#include "agent/place.h"
#include "agent/tar.h"
#include "proto/agent.h"

typedef struct NewFolder {
    struct NewFolder *next;
    unsigned mode;
    struct timespec times[2];
    char name[]; /* below the base */
} NewFolder;

typedef struct CopyIn {
    const CopyRequest *request;
    Result *result;
    Place place;
    char base[PATH_MAX];        /* for messages */
    char top[NAME_MAX + 1];     /* the archive's first component; "" in an archive of "." */
    char renamed[NAME_MAX + 1]; /* what it becomes, or "" */
    NewFolder *folders;         /* owned; the newest first */
} CopyIn;

/* ---- the destination ---- */

static int open_base(CopyIn *copy, const char *path) {
    copy_text(copy->base, sizeof(copy->base), path);
    copy->place.base_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy->place.base_fd < 0)
        return result_fail(copy->result, errno, "%s", path);
    return 0;
}

static int choose_new(CopyIn *copy, const char *path, bool contents) {
    char parent[PATH_MAX], last[PATH_MAX];

    if (contents) {
        if (mkdir(path, 0755) < 0)
            return result_fail(copy->result, errno, "%s", path);
        return open_base(copy, path);
    }
    copy_text(parent, sizeof(parent), path);
    copy_text(last, sizeof(last), path);
    const char *name = basename(last);

    if (strlen(name) > NAME_MAX)
        return result_fail(copy->result, ENAMETOOLONG, "%s", path);
    copy_text(copy->renamed, sizeof(copy->renamed), name);
    return open_base(copy, dirname(parent));
}

/* Once, when the first entry is known. */
static int choose_destination(CopyIn *copy, const TarEntry *entry) {
    const char *path = copy->request->path;
    char real[PATH_MAX];
    struct stat found;

    if (path[0] == '\0' || strlen(path) >= PATH_MAX)
        return result_say(copy->result, EINVAL, "no destination was given");
    if (stat(path, &found) < 0) {
        if (errno != ENOENT || copy->request->flags & COPY_INTO_FOLDER)
            return result_fail(copy->result, errno, "%s", path);
        return choose_new(copy, path, copy->top[0] == '\0');
    }
    if (S_ISDIR(found.st_mode))
        return open_base(copy, path);
    if (copy->request->flags & COPY_INTO_FOLDER || entry->type == TAR_FOLDER)
        return result_fail(copy->result, ENOTDIR, "%s", path);
    /* A link to a file: the file is what is replaced. */
    return choose_new(copy, realpath(path, real) ? real : path, false);
}

/* ---- names ---- */

/* "./a//b/" becomes "a/b". -EINVAL for what leads out. */
static int clean_name(CopyIn *copy, const char *name, char *clean, size_t room) {
    size_t n = 0;

    if (name[0] == '/')
        return result_say(copy->result, EINVAL, "the archive holds an absolute name: %s", name);
    while (*name) {
        size_t length = strcspn(name, "/");

        if (length == 2 && name[0] == '.' && name[1] == '.')
            return result_say(copy->result, EINVAL, "the archive holds a name with \"..\"");
        if (length > NAME_MAX || n + length + 2 > room)
            return result_say(copy->result, ENAMETOOLONG,
                              "the archive holds a name that is too long");
        if (length > 0 && !(length == 1 && name[0] == '.')) {
            if (n > 0)
                clean[n++] = '/';
            memcpy(clean + n, name, length);
            n += length;
        }
        name += length;
        while (*name == '/')
            name++;
    }
    clean[n] = '\0';
    return 0;
}

/* The name below the base, with the top renamed. */
static int map_name(CopyIn *copy, const char *name, char *mapped) {
    char clean[PATH_MAX];
    int r = clean_name(copy, name, clean, sizeof(clean));

    if (r < 0)
        return r;
    size_t first = strcspn(clean, "/");

    if (copy->top[0] && (strlen(copy->top) != first || memcmp(clean, copy->top, first) != 0))
        return result_say(copy->result, EINVAL, "the archive has more than one top entry");
    if (!copy->renamed[0]) {
        strcpy(mapped, clean);
        return 0;
    }
    size_t length = strlen(copy->renamed);

    if (length + strlen(clean + first) >= PATH_MAX)
        return result_say(copy->result, ENAMETOOLONG, "a name in the archive is too long");
    memcpy(mapped, copy->renamed, length);
    strcpy(mapped + length, clean + first);
    return 0;
}

static int begin(CopyIn *copy, const TarEntry *entry) {
    char clean[PATH_MAX];
    int r = clean_name(copy, entry->name, clean, sizeof(clean));

    if (r < 0)
        return r;
    if (clean[0] == '\0' && entry->type != TAR_FOLDER)
        return result_say(copy->result, EINVAL, "the archive holds an entry without a name");
    clean[strcspn(clean, "/")] = '\0';
    copy_text(copy->top, sizeof(copy->top), clean);
    return choose_destination(copy, entry);
}

/* ---- entries ---- */

static int failed(CopyIn *copy, int error, const char *name) {
    return result_fail(copy->result, error, "%s%s%s", copy->base,
                       strcmp(copy->base, "/") == 0 ? "" : "/", name);
}

static void entry_times(const TarEntry *entry, struct timespec *times) {
    times[0] = (struct timespec){.tv_nsec = UTIME_NOW};
    times[1] = (struct timespec){.tv_sec = entry->mtime_sec, .tv_nsec = (long)entry->mtime_nsec};
}

/* Room for something new under this name; folders are never replaced. */
static int remove_old(int parent, const char *last) {
    struct stat found;

    if (fstatat(parent, last, &found, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (S_ISDIR(found.st_mode))
        return -EISDIR;
    return unlinkat(parent, last, 0) < 0 ? -errno : 0;
}

static int write_at(int fd, const uint8_t *data, size_t size, uint64_t offset) {
    while (size > 0) {
        ssize_t n = pwrite(fd, data, size, (off_t)offset);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            data += n;
            size -= (size_t)n;
            offset += (uint64_t)n;
        }
    }
    return 0;
}

static int fill_file(CopyIn *copy, TarReader *reader, const TarEntry *entry, int fd,
                     const char *name) {
    for (size_t i = 0; i < entry->segments.n; i++) {
        TarSegment segment = entry->segments.list[i];

        while (segment.size > 0) {
            const uint8_t *data;
            ssize_t n = tar_reader_data(reader, segment.size, &data, copy->result);

            if (n <= 0)
                return n < 0 ? (int)n : -EBADMSG;
            int r = write_at(fd, data, (size_t)n, segment.offset);

            if (r < 0)
                return failed(copy, -r, name);
            segment.offset += (uint64_t)n;
            segment.size -= (uint64_t)n;
        }
    }
    return 0;
}

static int finish_file(const TarEntry *entry, int fd) {
    struct timespec times[2];

    entry_times(entry, times);
    if (ftruncate(fd, (off_t)entry->size) < 0 || fchmod(fd, entry->mode) < 0 ||
        futimens(fd, times) < 0)
        return -errno;
    return 0;
}

static int make_file(CopyIn *copy, TarReader *reader, const TarEntry *entry, int parent,
                     const char *last, const char *name) {
    int r = remove_old(parent, last);
    /* A file that another is mounted on (as the agent does in /etc) cannot go, only change. */
    bool in_place = r == -EBUSY;

    if (r < 0 && !in_place)
        return failed(copy, -r, name);
    _cleanup_close_ int fd =
        openat(parent, last,
               O_WRONLY | O_NOFOLLOW | O_CLOEXEC | (in_place ? O_TRUNC : O_CREAT | O_EXCL), 0600);

    if (fd < 0)
        return failed(copy, errno, name);
    r = fill_file(copy, reader, entry, fd, name);
    if (r == 0) {
        r = finish_file(entry, fd);
        if (r < 0)
            (void)failed(copy, -r, name);
    }
    if (r < 0 && !in_place)
        (void)unlinkat(parent, last, 0);
    return r;
}

static int make_folder(CopyIn *copy, const TarEntry *entry, int parent, const char *last,
                       const char *name) {
    struct stat found;

    if (mkdirat(parent, last, 0700) < 0) {
        int error = errno;

        if (error == EEXIST && fstatat(parent, last, &found, AT_SYMLINK_NOFOLLOW) == 0)
            error = S_ISDIR(found.st_mode) ? 0 : ENOTDIR;
        return error ? failed(copy, error, name) : 0; /* one that was there stays as it is */
    }
    NewFolder *folder = malloc(sizeof(*folder) + strlen(name) + 1);

    if (!folder)
        return failed(copy, ENOMEM, name);
    folder->mode = entry->mode;
    entry_times(entry, folder->times);
    strcpy(folder->name, name);
    folder->next = copy->folders;
    copy->folders = folder;
    return 0;
}

static int make_link(CopyIn *copy, const TarEntry *entry, int parent, const char *last,
                     const char *name) {
    char target[PATH_MAX];
    const char *target_last;
    int r = map_name(copy, entry->link, target);

    if (r < 0)
        return r;
    if (strcmp(target, name) == 0)
        return result_say(copy->result, EINVAL, "the archive links %s to itself", name);
    /* The cache of place.c holds the parent that we were given: open the other one apart from it.
     */
    _cleanup_(place_close)
        Place other = {.base_fd = fcntl(copy->place.base_fd, F_DUPFD_CLOEXEC, 3), .parent_fd = -1};
    int target_parent = place_parent(&other, target, false, &target_last);

    if (target_parent < 0)
        return failed(copy, -target_parent, target);
    r = remove_old(parent, last);
    if (r == 0 && linkat(target_parent, target_last, parent, last, 0) < 0)
        r = -errno;
    return r < 0 ? failed(copy, -r, name) : 0;
}

static int make_special(CopyIn *copy, const TarEntry *entry, int parent, const char *last,
                        const char *name) {
    struct timespec times[2];
    int r = remove_old(parent, last);

    entry_times(entry, times);
    if (r == 0 && entry->type == TAR_SYMLINK && symlinkat(entry->link, parent, last) < 0)
        r = -errno;
    if (r == 0 && entry->type == TAR_FIFO &&
        (mkfifoat(parent, last, 0600) < 0 || fchmodat(parent, last, entry->mode, 0) < 0))
        r = -errno;
    if (r == 0)
        (void)utimensat(parent, last, times, AT_SYMLINK_NOFOLLOW);
    return r < 0 ? failed(copy, -r, name) : 0;
}

static int make_entry(CopyIn *copy, TarReader *reader, const TarEntry *entry) {
    char name[PATH_MAX];
    const char *last;
    int r = map_name(copy, entry->name, name);

    if (r < 0)
        return r;
    if (name[0] == '\0') /* "." itself is the destination, and there already */
        return entry->type == TAR_FOLDER ? 0
                                         : result_say(copy->result, EINVAL, "an entry has no name");
    int parent = place_parent(&copy->place, name, true, &last);

    if (parent < 0)
        return failed(copy, -parent, name);
    switch (entry->type) {
    case TAR_FILE:
        return make_file(copy, reader, entry, parent, last, name);
    case TAR_FOLDER:
        return make_folder(copy, entry, parent, last, name);
    case TAR_HARD_LINK:
        return make_link(copy, entry, parent, last, name);
    default:
        return make_special(copy, entry, parent, last, name);
    }
}

static void finish_folders(CopyIn *copy) {
    while (copy->folders) {
        NewFolder *folder = copy->folders;
        _cleanup_close_ int fd = place_open_folder(&copy->place, folder->name);

        if (fd >= 0 && (fchmod(fd, folder->mode) < 0 || futimens(fd, folder->times) < 0))
            (void)failed(copy, errno, folder->name);
        copy->folders = folder->next;
        free(folder);
    }
}

void copy_in_worker(void *data, int in, int out, Result *result) {
    CopyIn copy = {.request = data, .result = result, .place = {.base_fd = -1, .parent_fd = -1}};
    TarReader *reader = malloc(sizeof(*reader));
    TarEntry *entry = malloc(sizeof(*entry));
    bool begun = false;
    int r = 0;

    if (!reader || !entry) {
        result_fail(result, ENOMEM, "cannot copy");
    } else {
        tar_reader_init(reader, in);
        while (result->error == 0 && (r = tar_reader_next(reader, entry, result)) > 0) {
            if (begun || begin(&copy, entry) == 0)
                (void)make_entry(&copy, reader, entry);
            begun = true;
            tar_entry_free(entry);
        }
        if (r == 0 && !begun)
            result_say(result, EBADMSG, "the archive is empty");
    }
    finish_folders(&copy);
    place_close(&copy.place);
    free(reader);
    free(entry);
}
