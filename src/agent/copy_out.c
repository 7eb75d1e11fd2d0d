/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: walks the tree with descriptors, so that renames on the way cannot lead it
 * elsewhere; never follows a symbolic link below the top. Holes are found with SEEK_DATA. A file
 * that shrinks while it is read is filled up with zeroes, since its size has been announced, and
 * reported at the end. Sockets and device nodes are left out; so are the kernel's own file systems.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "agent/copy.h"
#include "agent/tar_pax.h"
#include "agent/tar_write.h"

typedef struct Seen {
    dev_t device;
    ino_t inode;
    char *name; /* owned: where it is in the archive */
} Seen;

typedef struct CopyOut {
    TarWriter writer;
    Result *result;
    char name[TAR_NAME_MAX]; /* of the entry at hand, in the archive */
    Seen *seen;              /* owned: files with several links, a hash table */
    size_t seen_room, seen_used;
    uint8_t buffer[64 * 1024];
} CopyOut;

static int failed(CopyOut *copy, int error) {
    return result_fail(copy->result, error, "%s", copy->name);
}

/* ---- hard links ---- */

static Seen *seen_slot(Seen *table, size_t room, dev_t device, ino_t inode) {
    size_t i = (size_t)((inode * 0x9e3779b97f4a7c15ull) >> 20) & (room - 1);

    while (table[i].name && (table[i].device != device || table[i].inode != inode))
        i = (i + 1) & (room - 1);
    return &table[i];
}

static int seen_grow(CopyOut *copy) {
    size_t room = copy->seen_room ? 2 * copy->seen_room : 64;
    Seen *table = calloc(room, sizeof(*table));

    if (!table)
        return -ENOMEM;
    for (size_t i = 0; i < copy->seen_room; i++)
        if (copy->seen[i].name)
            *seen_slot(table, room, copy->seen[i].device, copy->seen[i].inode) = copy->seen[i];
    free(copy->seen);
    copy->seen = table;
    copy->seen_room = room;
    return 0;
}

/* The name under which this file is in the archive already, or NULL: then it is noted. */
static const char *seen_before(CopyOut *copy, const struct stat *file) {
    if (copy->seen_used * 2 >= copy->seen_room && seen_grow(copy) < 0)
        return NULL;
    Seen *slot = seen_slot(copy->seen, copy->seen_room, file->st_dev, file->st_ino);

    if (slot->name)
        return slot->name;
    *slot = (Seen){file->st_dev, file->st_ino, strdup(copy->name)};
    copy->seen_used += slot->name != NULL;
    return NULL;
}

static void seen_free(CopyOut *copy) {
    for (size_t i = 0; i < copy->seen_room; i++)
        free(copy->seen[i].name);
    free(copy->seen);
}

/* ---- files ---- */

/* The stretches with data. True when the file is worth storing as sparse. */
static bool find_segments(int fd, uint64_t size, TarSegments *segments) {
    uint64_t data = 0;
    off_t start, end = 0;

    while ((start = lseek(fd, end, SEEK_DATA)) >= 0 && (uint64_t)start < size) {
        end = lseek(fd, start, SEEK_HOLE);
        if (end < 0)
            return false;
        end = (off_t)MIN_OF((uint64_t)end, size);
        if (tar_segments_add(segments, (uint64_t)start, (uint64_t)(end - start)) < 0)
            return false;
        data += (uint64_t)(end - start);
        if ((uint64_t)end >= size)
            break;
    }
    if (start < 0 && errno != ENXIO) /* ENXIO: only a hole from here on */
        return false;
    /* A hole at the end is told by an empty segment there, as GNU tar does and expects. */
    if (start < 0 && tar_segments_add(segments, size, 0) < 0)
        return false;
    return data < size;
}

static void copy_segment(CopyOut *copy, int fd, TarSegment segment) {
    bool shrank = false;

    while (segment.size > 0 && copy->writer.error == 0) {
        size_t part = (size_t)MIN_OF(segment.size, sizeof(copy->buffer));
        ssize_t n = shrank ? 0 : pread(fd, copy->buffer, part, (off_t)segment.offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (!shrank)
                (void)(n < 0 ? failed(copy, errno)
                             : result_say(copy->result, EIO, "%s: it shrank while it was copied",
                                          copy->name));
            shrank = true;
            memset(copy->buffer, 0, part);
            n = (ssize_t)part;
        }
        tar_write(&copy->writer, copy->buffer, (size_t)n);
        segment.offset += (uint64_t)n;
        segment.size -= (uint64_t)n;
    }
}

static void copy_file(CopyOut *copy, int parent, const char *last, const struct stat *file) {
    const char *other = file->st_nlink > 1 ? seen_before(copy, file) : NULL;
    TarSegments segments = {0};
    uint64_t stored = 0;

    if (other) {
        tar_write_header(&copy->writer, TAR_HARD_LINK, copy->name, other, file, NULL);
        return;
    }
    _cleanup_close_ int fd = openat(parent, last, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat now;

    if (fd < 0 || fstat(fd, &now) < 0 || !S_ISREG(now.st_mode)) {
        (void)failed(copy, fd < 0 ? errno : EIO);
        return;
    }
    bool sparse = (uint64_t)now.st_blocks * 512 < (uint64_t)now.st_size &&
                  find_segments(fd, (uint64_t)now.st_size, &segments);

    if (!sparse) {
        segments.n = 0;
        if (now.st_size > 0)
            (void)tar_segments_add(&segments, 0, (uint64_t)now.st_size);
    }
    tar_write_header(&copy->writer, TAR_FILE, copy->name, "", &now, sparse ? &segments : NULL);
    for (size_t i = 0; i < segments.n; i++) {
        copy_segment(copy, fd, segments.list[i]);
        stored += segments.list[i].size;
    }
    tar_write_padding(&copy->writer, stored);
    free(segments.list);
}

static void copy_symlink(CopyOut *copy, int parent, const char *last, const struct stat *file) {
    char target[TAR_NAME_MAX];
    ssize_t length = readlinkat(parent, last, target, sizeof(target) - 1);

    if (length < 0) {
        (void)failed(copy, errno);
        return;
    }
    target[length] = '\0';
    tar_write_header(&copy->writer, TAR_SYMLINK, copy->name, target, file, NULL);
}

/* ---- folders ---- */

static void copy_entry(CopyOut *copy, int parent, const char *last);

static bool is_kernels_own(int fd) {
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && ((unsigned long)fs.f_type == PROC_SUPER_MAGIC ||
                                     (unsigned long)fs.f_type == SYSFS_MAGIC);
}

static void copy_children(CopyOut *copy, DIR *folder) {
    size_t length = strlen(copy->name);

    for (struct dirent *entry; copy->writer.error == 0 && (entry = readdir(folder));) {
        size_t part = strlen(entry->d_name);

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (length + part + 2 > sizeof(copy->name)) {
            (void)failed(copy, ENAMETOOLONG);
            continue;
        }
        copy->name[length] = '/';
        memcpy(copy->name + length + 1, entry->d_name, part + 1);
        copy_entry(copy, dirfd(folder), entry->d_name);
        copy->name[length] = '\0';
    }
}

static void copy_folder(CopyOut *copy, int parent, const char *last, const struct stat *file) {
    int fd = openat(parent, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;

    if (!folder) {
        (void)failed(copy, errno);
        close_fd(&fd);
        return;
    }
    tar_write_header(&copy->writer, TAR_FOLDER, copy->name, "", file, NULL);
    if (!is_kernels_own(fd))
        copy_children(copy, folder);
    (void)closedir(folder);
}

static void copy_entry(CopyOut *copy, int parent, const char *last) {
    struct stat file;

    if (fstatat(parent, last, &file, AT_SYMLINK_NOFOLLOW) < 0)
        (void)failed(copy, errno);
    else if (S_ISREG(file.st_mode))
        copy_file(copy, parent, last, &file);
    else if (S_ISDIR(file.st_mode))
        copy_folder(copy, parent, last, &file);
    else if (S_ISLNK(file.st_mode))
        copy_symlink(copy, parent, last, &file);
    else if (S_ISFIFO(file.st_mode))
        tar_write_header(&copy->writer, TAR_FIFO, copy->name, "", &file, NULL);
}

/* Which entry of which folder PATH means; ".", ".." and "/" at its end have no name of their own.
 */
static int find_top(const char *path, char *folder, char *last, Result *result) {
    char real[PATH_MAX], copy[PATH_MAX];
    size_t length = strlen(path);

    if (length == 0 || length >= PATH_MAX)
        return result_say(result, EINVAL, "no source was given");
    copy_text(copy, sizeof(copy), path);
    const char *name = basename(copy);

    if (path[length - 1] == '/' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        if (!realpath(path, real))
            return result_fail(result, errno, "%s", path);
        path = real;
    }
    copy_text(copy, sizeof(copy), path);
    copy_text(last, PATH_MAX, strcmp(path, "/") == 0 ? "." : basename(copy));
    copy_text(copy, sizeof(copy), path);
    copy_text(folder, PATH_MAX, dirname(copy));
    return 0;
}

void copy_out_worker(void *data, int in, int out, Result *result) {
    const CopyRequest *request = data;
    CopyOut *copy = calloc(1, sizeof(*copy));
    char folder[PATH_MAX], last[PATH_MAX];
    struct stat file;

    if (!copy) {
        result_fail(result, ENOMEM, "cannot copy");
        return;
    }
    copy->result = result;
    tar_writer_init(&copy->writer, out);
    if (find_top(request->path, folder, last, result) == 0) {
        _cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || fstatat(fd, last, &file, AT_SYMLINK_NOFOLLOW) < 0) {
            result_fail(result, errno, "%s", request->path);
        } else {
            copy_text(copy->name, sizeof(copy->name), last);
            copy_entry(copy, fd, last);
            if (copy->writer.error == 0 && tar_write_end(&copy->writer) < 0)
                result_fail(result, -copy->writer.error, "cannot send the archive");
        }
    }
    seen_free(copy);
    free(copy);
}
