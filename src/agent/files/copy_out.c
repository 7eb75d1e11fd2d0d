/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: walks the tree with descriptors, so that renames on the way cannot lead it
 * elsewhere; follows symbolic links only when asked to. Holes are found with SEEK_DATA.
 *
 * A header tells a file's size before its data, but what stat says may be wrong: files of the
 * kernel's own file systems have no size, and others shrink meanwhile. So small files, and all of
 * the kernel's, are read before they are announced. A large one that shrinks is filled up with
 * zeroes and then sent once more, which replaces it at the other end; one that shrinks each time
 * ends the archive without its end mark, and the receiver undoes it.
 *
 * What cannot be read does not hinder the rest, as with cp; the first such file is the result.
 * Sockets and device nodes, and the contents of the kernel's own file systems below the top, are
 * left out, and that is told as well. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "agent/files/copy.h"
#include "agent/files/hard_links.h"
#include "agent/files/tar_pax.h"
#include "agent/files/tar_write.h"
#include "proto/agent.h"

#define SHRINKS_MAX 5
#define SPOOL_MAX (64u << 20) /* of a file that does not know its size; it is kept in memory */

/* A folder that is being walked; those above it, to see links that lead in a circle. */
typedef struct Level {
    const struct Level *above;
    dev_t device;
    ino_t inode;
} Level;

typedef struct CopyOut {
    TarWriter writer;
    Result *result;
    LeftOut left_out;
    unsigned n_failed;
    bool follow;        /* symbolic links below the top */
    bool top_is_kernel; /* the kernel's own file system is what was asked for */
    const Level *level;
    char name[TAR_NAME_MAX]; /* of the entry at hand, in the archive */
    HardLinks links;         /* files with several */
    uint8_t buffer[64 * 1024];
} CopyOut;

static int failed(CopyOut *copy, int error) {
    copy->n_failed++;
    return result_fail(copy->result, error, "%s", copy->name);
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

/* False when the file ended before; zeroes take the place of what is missing. */
static bool copy_segment(CopyOut *copy, int fd, TarSegment segment) {
    bool whole = true;
    while (segment.size > 0 && copy->writer.error == 0) {
        size_t part = (size_t)MIN_OF(segment.size, sizeof(copy->buffer));
        ssize_t n = whole ? pread(fd, copy->buffer, part, (off_t)segment.offset) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) { /* half a file is none: the receiver sees the archive end here */
            copy->writer.error = failed(copy, errno);
            return true;
        }
        if (n == 0) {
            whole = false;
            memset(copy->buffer, 0, part);
            n = (ssize_t)part;
        }
        tar_write(&copy->writer, copy->buffer, (size_t)n);
        segment.offset += (uint64_t)n;
        segment.size -= (uint64_t)n;
    }
    return whole;
}

static bool send_segments(CopyOut *copy, int fd, const struct stat *file,
                          const TarSegments *segments, bool sparse) {
    uint64_t stored = 0;
    bool whole = true;
    tar_write_header(&copy->writer, TAR_FILE, copy->name, "", file, sparse ? segments : NULL);
    for (size_t i = 0; i < segments->n; i++) {
        whole &= copy_segment(copy, fd, segments->list[i]);
        stored += segments->list[i].size;
    }
    tar_write_padding(&copy->writer, stored);
    return whole;
}

static bool send_dense(CopyOut *copy, int fd, const struct stat *file) {
    TarSegment all = {0, (uint64_t)file->st_size};
    const TarSegments segments = {&all, file->st_size > 0 ? 1 : 0};
    return send_segments(copy, fd, file, &segments, false);
}

/* What the buffer takes of the file: less than its size at the file's end. */
static ssize_t read_some(CopyOut *copy, int fd) {
    size_t done = 0;
    while (done < sizeof(copy->buffer)) {
        ssize_t n = read(fd, copy->buffer + done, sizeof(copy->buffer) - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* Reads the rest of a file of no known size into memory, after what the buffer holds. */
static int spool(CopyOut *copy, int fd, int memory, struct stat *file) {
    ssize_t n = (ssize_t)sizeof(copy->buffer);
    file->st_size = 0;
    while (n > 0) {
        int r = write_all(memory, copy->buffer, (size_t)n);
        if (r < 0)
            return r;
        file->st_size += n;
        if ((uint64_t)file->st_size > SPOOL_MAX)
            return -EFBIG;
        n = read_some(copy, fd);
    }
    return (int)n;
}

static bool send_spooled(CopyOut *copy, int fd, struct stat *file) {
    _cleanup_close_ int memory = memfd_create("file", MFD_CLOEXEC);
    int r = memory < 0 ? -errno : spool(copy, fd, memory, file);
    if (r < 0)
        (void)failed(copy, -r);
    return r < 0 || send_dense(copy, memory, file);
}

static bool is_kernels_own(int fd) {
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 &&
           ((unsigned long)fs.f_type == PROC_SUPER_MAGIC ||
            (unsigned long)fs.f_type == SYSFS_MAGIC || (unsigned long)fs.f_type == DEBUGFS_MAGIC ||
            (unsigned long)fs.f_type == TRACEFS_MAGIC ||
            (unsigned long)fs.f_type == SECURITYFS_MAGIC ||
            (unsigned long)fs.f_type == CGROUP2_SUPER_MAGIC);
}

/* A file that fits into the buffer is read first; so is one whose size nobody knows before. */
static bool send_read_first(CopyOut *copy, int fd, struct stat *file) {
    ssize_t n = read_some(copy, fd);
    if (n < 0) {
        (void)failed(copy, (int)-n);
        return true;
    }
    if (n == (ssize_t)sizeof(copy->buffer))
        return file->st_size > n && !is_kernels_own(fd) ? send_dense(copy, fd, file)
                                                        : send_spooled(copy, fd, file);
    file->st_size = n;
    tar_write_header(&copy->writer, TAR_FILE, copy->name, "", file, NULL);
    tar_write(&copy->writer, copy->buffer, (size_t)n);
    tar_write_padding(&copy->writer, (uint64_t)n);
    return true;
}

/* False when it shrank meanwhile. */
static bool send_file(CopyOut *copy, int fd) {
    _cleanup_free_ TarSegment *list = NULL;
    TarSegments segments = {0};
    struct stat now;
    bool sparse;
    if (fstat(fd, &now) < 0 || !S_ISREG(now.st_mode)) {
        (void)failed(copy, EIO);
        return true;
    }
    sparse = (uint64_t)now.st_blocks * 512 < (uint64_t)now.st_size && !is_kernels_own(fd) &&
             find_segments(fd, (uint64_t)now.st_size, &segments);
    list = segments.list;
    (void)lseek(fd, 0, SEEK_SET);
    if (sparse)
        return send_segments(copy, fd, &now, &segments, true);
    if ((uint64_t)now.st_size <= sizeof(copy->buffer) || is_kernels_own(fd))
        return send_read_first(copy, fd, &now);
    return send_dense(copy, fd, &now);
}

static void copy_file(CopyOut *copy, int parent, const char *last, const struct stat *file,
                      bool follow) {
    const char *other = file->st_nlink > 1 ? hard_links_add(&copy->links, file, copy->name) : NULL;
    if (other) {
        tar_write_header(&copy->writer, TAR_HARD_LINK, copy->name, other, file, NULL);
        return;
    }
    _cleanup_close_ int fd =
        openat(parent, last, O_RDONLY | (follow ? 0 : O_NOFOLLOW) | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        (void)failed(copy, errno);
        return;
    }
    for (unsigned i = 0; copy->writer.error == 0 && !send_file(copy, fd); i++)
        if (i == SHRINKS_MAX)
            copy->writer.error = result_say(
                copy->result, EIO, "%s: it shrank each time that it was copied", copy->name);
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

static void copy_entry(CopyOut *copy, int parent, const char *last, bool follow);

static void copy_children(CopyOut *copy, DIR *folder) {
    size_t length = strlen(copy->name);
    errno = 0;
    for (struct dirent *entry; copy->writer.error == 0 && (entry = readdir(folder)); errno = 0) {
        size_t part = strlen(entry->d_name);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (length + part + 2 > sizeof(copy->name)) {
            (void)failed(copy, ENAMETOOLONG);
            continue;
        }
        copy->name[length] = '/';
        memcpy(copy->name + length + 1, entry->d_name, part + 1);
        copy_entry(copy, dirfd(folder), entry->d_name, copy->follow);
        copy->name[length] = '\0';
    }
    if (errno != 0 && copy->writer.error == 0)
        (void)failed(copy, errno);
}

static bool is_circle(const CopyOut *copy, const struct stat *file) {
    for (const Level *level = copy->level; level; level = level->above)
        if (level->device == file->st_dev && level->inode == file->st_ino)
            return true;
    return false;
}

static void walk_folder(CopyOut *copy, DIR *folder, const struct stat *file) {
    Level level = {copy->level, file->st_dev, file->st_ino};
    bool kernels = is_kernels_own(dirfd(folder));
    tar_write_header(&copy->writer, TAR_FOLDER, copy->name, "", file, NULL);
    if (!copy->level)
        copy->top_is_kernel = kernels;
    if (kernels && !copy->top_is_kernel) {
        left_out_note(&copy->left_out, copy->name, "a file system of the kernel's own");
        return;
    }
    copy->level = &level;
    copy_children(copy, folder);
    copy->level = level.above;
}

static void copy_folder(CopyOut *copy, int parent, const char *last, const struct stat *file,
                        bool follow) {
    if (follow && is_circle(copy, file)) {
        (void)failed(copy, ELOOP);
        return;
    }
    int fd = openat(parent, last, O_RDONLY | O_DIRECTORY | (follow ? 0 : O_NOFOLLOW) | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (!folder) {
        (void)failed(copy, errno);
        close_fd(&fd);
        return;
    }
    walk_folder(copy, folder, file);
    (void)closedir(folder);
}

static void copy_entry(CopyOut *copy, int parent, const char *last, bool follow) {
    struct stat file;
    if (fstatat(parent, last, &file, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
        (void)failed(copy, errno);
    else if (S_ISREG(file.st_mode))
        copy_file(copy, parent, last, &file, follow);
    else if (S_ISDIR(file.st_mode))
        copy_folder(copy, parent, last, &file, follow);
    else if (S_ISLNK(file.st_mode))
        copy_symlink(copy, parent, last, &file);
    else if (S_ISFIFO(file.st_mode))
        tar_write_header(&copy->writer, TAR_FIFO, copy->name, "", &file, NULL);
    else
        left_out_note(&copy->left_out, copy->name,
                      S_ISSOCK(file.st_mode) ? "a socket" : "a device");
}

/* ---- the top ---- */

typedef struct Top {
    char folder[PATH_MAX];
    char last[PATH_MAX]; /* in it; "." for the contents of a folder */
    bool slashed;        /* "link/" is what the link leads to */
} Top;

/* Which entry of which folder PATH means. ".", "..", "/" and "folder/." are contents. */
static int find_top(const char *path, Top *top, Result *result) {
    size_t length = strlen(path), end = length;
    const char *last;
    if (length == 0 || length >= PATH_MAX)
        return result_say(result, length ? ENAMETOOLONG : EINVAL, "no source was given");
    while (end > 1 && path[end - 1] == '/')
        end--;
    copy_text(top->folder, end + 1, path);
    last = strrchr(top->folder, '/');
    last = last ? last + 1 : top->folder;
    top->slashed = end < length;
    if (last[0] == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0) {
        strcpy(top->last, ".");
        return 0;
    }
    strcpy(top->last, last);
    top->folder[last - top->folder] = '\0';
    if (top->folder[0] == '\0')
        strcpy(top->folder, ".");
    return 0;
}

static void copy_top(CopyOut *copy, const char *path, const Top *top) {
    _cleanup_close_ int fd = open(top->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool follow = copy->follow || top->slashed;
    struct stat file;
    if (fd < 0 || fstatat(fd, top->last, &file, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0) {
        (void)result_fail(copy->result, errno, "%s", path);
        return;
    }
    if (top->slashed && !S_ISDIR(file.st_mode)) {
        (void)result_fail(copy->result, ENOTDIR, "%s", path);
        return;
    }
    copy_text(copy->name, sizeof(copy->name), top->last);
    copy_entry(copy, fd, top->last, follow);
    if (copy->writer.error == 0 && tar_write_end(&copy->writer) < 0)
        (void)result_fail(copy->result, -copy->writer.error, "cannot send the archive");
}

/* The first failure is the result; how many more there were is told with it, before the reason. */
static void tell_failures(const CopyOut *copy) {
    Result *result = copy->result;
    const char *reason = strerror(result->error);
    size_t length = strlen(result->text), size = strlen(reason) + 2;
    if (copy->n_failed > 1 && length > size) {
        length -= size;
        (void)snprintf(result->text + length, sizeof(result->text) - length, " (and %u more): %s",
                       copy->n_failed - 1, reason);
    }
    left_out_tell(&copy->left_out, result);
}

void copy_out_worker(void *data, int in, int out, Result *result) {
    const CopyRequest *request = data;
    CopyOut *copy = calloc(1, sizeof(*copy));
    Top top;
    if (!copy) {
        result_fail(result, ENOMEM, "cannot copy");
        return;
    }
    copy->result = result;
    copy->follow = request->flags & COPY_FOLLOW;
    tar_writer_init(&copy->writer, out);
    if (find_top(request->path, &top, result) == 0)
        copy_top(copy, request->path, &top);
    tell_failures(copy);
    hard_links_free(&copy->links);
    free(copy);
}
