/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: every folder on the way to an entry is opened one by one below the destination
 * (copy_destination.h), never through a symbolic link (path_beneath.h). So nothing outside the
 * destination can be reached, whatever links the archive made before.
 *
 * Nothing that is half done has its name. A file is written beside it, under a name of our own, and
 * renamed when it is complete. So is the whole of what is new at the top, which is removed again
 * when the archive is cut off or fails; a folder that was there keeps the files that came before.
 * Modes and times of new folders are set at the end, since a read-only folder could not be filled.
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/files/copy.h"
#include "agent/files/copy_destination.h"

typedef struct NewFolder {
    struct NewFolder *next;
    unsigned mode;
    struct timespec times[2];
    char name[]; /* below the base */
} NewFolder;

typedef struct CopyIn {
    LeftOut left_out;
    CopyDestination to;
    NewFolder *folders; /* owned; the newest first */
} CopyIn;

static void entry_times(const TarEntry *entry, struct timespec *times) {
    times[0] = (struct timespec){.tv_nsec = UTIME_NOW};
    times[1] = (struct timespec){.tv_sec = entry->mtime_sec, .tv_nsec = (long)entry->mtime_nsec};
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
            ssize_t n = tar_reader_data(reader, segment.size, &data, copy->to.result);
            if (n <= 0)
                return n < 0 ? (int)n : -EBADMSG;
            int r = write_at(fd, data, (size_t)n, segment.offset);
            if (r < 0)
                return copy_destination_failed(&copy->to, -r, name);
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

static int write_through(CopyIn *copy, TarReader *reader, const TarEntry *entry, int parent,
                         const char *last, const char *name) {
    _cleanup_close_ int fd =
        openat(parent, last, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return fd < 0 ? copy_destination_failed(&copy->to, errno, name)
                  : fill_file(copy, reader, entry, fd, name);
}

static int make_file(CopyIn *copy, TarReader *reader, const TarEntry *entry, int parent,
                     const char *last, const char *name) {
    char temporary[COPY_TEMPORARY_SIZE];
    int r = copy_destination_pick(&copy->to, parent, temporary);
    if (copy->to.through)
        return write_through(copy, reader, entry, parent, last, name);
    _cleanup_close_ int fd =
        r < 0
            ? r
            : openat(parent, temporary, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        return copy_destination_failed(&copy->to, r < 0 ? -r : errno, name);
    r = fill_file(copy, reader, entry, fd, name);
    if (r < 0) {
        (void)unlinkat(parent, temporary, 0);
        return r; /* told already */
    }
    r = finish_file(entry, fd);
    if (r == 0)
        r = copy_destination_install(parent, temporary, last);
    else
        (void)unlinkat(parent, temporary, 0);
    return r < 0 ? copy_destination_failed(&copy->to, -r, name) : 0;
}

static int add_folder(CopyIn *copy, const TarEntry *entry, const char *name) {
    NewFolder *folder = malloc(sizeof(*folder) + strlen(name) + 1);
    if (!folder)
        return copy_destination_failed(&copy->to, ENOMEM, name);
    folder->mode = entry->mode;
    entry_times(entry, folder->times);
    strcpy(folder->name, name);
    folder->next = copy->folders;
    copy->folders = folder;
    return 0;
}

static int make_folder(CopyIn *copy, const TarEntry *entry, int parent, const char *last,
                       const char *name) {
    struct stat found;
    if (mkdirat(parent, last, 0700) < 0) {
        int error = errno;
        if (error == EEXIST && fstatat(parent, last, &found, AT_SYMLINK_NOFOLLOW) == 0)
            error = S_ISDIR(found.st_mode) ? 0 : ENOTDIR;
        return error ? copy_destination_failed(&copy->to, error, name)
                     : 0; /* one that was there stays as it is */
    }
    return add_folder(copy, entry, name);
}

static int make_link(CopyIn *copy, const TarEntry *entry, int parent, const char *last,
                     const char *name) {
    char target[PATH_MAX], temporary[COPY_TEMPORARY_SIZE];
    const char *target_last;
    int r = copy_destination_map(&copy->to, entry->link, target);
    if (r < 0)
        return r;
    if (strcmp(target, name) == 0)
        return result_say(copy->to.result, EINVAL, "the archive links %s to itself", name);
    /* The cache of path_beneath.c holds the parent that we were given: open the other one apart
     * from it.
     */
    _cleanup_(path_beneath_close) PathBeneath other = {
        .base_fd = fcntl(copy->to.beneath.base_fd, F_DUPFD_CLOEXEC, 3), .parent_fd = -1};
    int target_parent = path_beneath_parent(&other, target, false, &target_last);
    if (target_parent < 0)
        return copy_destination_failed(&copy->to, -target_parent, target);
    r = copy_destination_pick(&copy->to, parent, temporary);
    if (r == 0 && linkat(target_parent, target_last, parent, temporary, 0) < 0)
        r = -errno;
    if (r == 0)
        r = copy_destination_install(parent, temporary, last);
    return r < 0 ? copy_destination_failed(&copy->to, -r, name) : 0;
}

static int make_special(CopyIn *copy, const TarEntry *entry, int parent, const char *last,
                        const char *name) {
    struct timespec times[2];
    char temporary[COPY_TEMPORARY_SIZE];
    int r = copy_destination_pick(&copy->to, parent, temporary);
    entry_times(entry, times);
    if (r == 0 && entry->type == TAR_SYMLINK && symlinkat(entry->link, parent, temporary) < 0)
        r = -errno;
    if (r == 0 && entry->type == TAR_FIFO &&
        (mkfifoat(parent, temporary, 0600) < 0 || fchmodat(parent, temporary, entry->mode, 0) < 0))
        r = -errno;
    if (r == 0 && utimensat(parent, temporary, times, AT_SYMLINK_NOFOLLOW) < 0)
        r = -errno;
    if (r == 0)
        r = copy_destination_install(parent, temporary, last);
    return r < 0 ? copy_destination_failed(&copy->to, -r, name) : 0;
}

/* Notes what this side does not take of an entry. True: nothing of it. */
static bool leave_out(CopyIn *copy, TarEntry *entry) {
    if (entry->type == TAR_DEVICE) {
        left_out_note(&copy->left_out, entry->name, "a device");
        return true;
    }
    if (copy->to.flags & COPY_NO_SET_ID && entry->mode & 06000 && entry->type != TAR_SYMLINK &&
        entry->type != TAR_HARD_LINK) {
        left_out_note(&copy->left_out, entry->name, "its set-id bits");
        entry->mode &= ~06000u;
    }
    return false;
}

static int make_entry(CopyIn *copy, TarReader *reader, TarEntry *entry) {
    char name[PATH_MAX];
    const char *last;
    int r = copy_destination_map(&copy->to, entry->name, name);
    if (r < 0 || leave_out(copy, entry))
        return r;
    if (name[0] == '\0') /* "." itself is the destination, and there already */
        return entry->type == TAR_FOLDER
                   ? 0
                   : result_say(copy->to.result, EINVAL, "an entry has no name");
    int parent = path_beneath_parent(&copy->to.beneath, name, true, &last);
    if (parent < 0)
        return copy_destination_failed(&copy->to, -parent, name);
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
        _cleanup_close_ int fd = path_beneath_open_folder(&copy->to.beneath, folder->name);
        if (fd >= 0 && (fchmod(fd, folder->mode) < 0 || futimens(fd, folder->times) < 0))
            (void)copy_destination_failed(&copy->to, errno, folder->name);
        copy->folders = folder->next;
        free(folder);
    }
}

static int begin(CopyIn *copy, const TarEntry *entry) {
    int r = copy_destination_choose(&copy->to, entry);
    return r == 0 && copy->to.is_new ? add_folder(copy, entry, "") : r;
}

static void unpack(CopyIn *copy, TarReader *reader, TarEntry *entry) {
    bool begun = false;
    int r = 0;
    while (copy->to.result->error == 0 &&
           (r = tar_reader_next(reader, entry, copy->to.result)) > 0) {
        if (begun || begin(copy, entry) == 0)
            (void)make_entry(copy, reader, entry);
        begun = true;
        tar_entry_free(entry);
    }
    if (r == 0 && !begun)
        result_say(copy->to.result, EBADMSG, "the archive is empty");
    if (r == 0)
        tar_reader_drain(reader);
}

static void finish(CopyIn *copy) {
    finish_folders(copy);
    copy_destination_finish(&copy->to);
    left_out_tell(&copy->left_out, copy->to.result);
}

void copy_in_worker(void *data, int in, int out, Result *result) {
    const CopyRequest *request = data;
    CopyIn *copy = malloc(sizeof(*copy));
    TarReader *reader = malloc(sizeof(*reader));
    TarEntry *entry = malloc(sizeof(*entry));
    if (!copy || !reader || !entry) {
        result_fail(result, ENOMEM, "cannot copy");
    } else {
        *copy = (CopyIn){.to = {.path = request->path,
                                .flags = request->flags,
                                .result = result,
                                .beneath = {.base_fd = -1, .parent_fd = -1},
                                .stage_fd = -1}};
        tar_reader_init(reader, in);
        unpack(copy, reader, entry);
        finish(copy);
    }
    free(copy);
    free(reader);
    free(entry);
}
