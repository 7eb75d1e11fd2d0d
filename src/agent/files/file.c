/* SPDX-License-Identifier: Apache-2.0 */
/* Single files, without an archive around them.
 *
 * A write makes a file without a name beside the destination (O_TMPFILE; with a name of its own
 * where the file system has none of those), fills it, gives it a name and renames it over the old
 * file, whose owner and permissions it takes. So readers see one or the other, and a write that is
 * broken off changes nothing. What cannot be replaced (a device, a pipe, a file that another is
 * mounted on) is written in place. Links are followed: what they lead to is written. */

#include "agent/files/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/files/copy.h"
#include "proto/agent.h"
#include "proto/tlv.h"

#define CHUNK_BYTES (128 * 1024)

/* 0 at the end of `in`, or a negative errno: -EPIPE when that came before `size` bytes did. */
static int copy_bytes(int in, int out, uint64_t size) {
    static uint8_t buffer[CHUNK_BYTES];
    uint64_t copied = 0;
    for (;;) {
        ssize_t n = read(in, buffer, sizeof(buffer));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : size != UINT64_MAX && copied != size ? -EPIPE : 0;
        copied += (uint64_t)n;
        int r = write_all(out, buffer, (size_t)n);
        if (r < 0)
            return r;
    }
}

/* ---- read ---- */

static void read_folder(const FileRequest *request, int out, Result *result) {
    CopyRequest copy = {.path = request->path};
    uint8_t kind = READ_FOLDER;
    if (write_all(out, &kind, 1) == 0)
        copy_out_worker(&copy, -1, out, result);
}

void file_read_worker(void *data, int in, int out, Result *result) {
    const FileRequest *request = data;
    uint8_t kind = READ_FILE;
    struct stat found;
    /* Not blocking: a pipe without a writer must not hold us before we know what it is. */
    _cleanup_close_ int fd = open(request->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    (void)in;
    if (fd < 0 || fstat(fd, &found) < 0) {
        result_fail(result, errno, "%s", request->path);
        return;
    }
    if (S_ISDIR(found.st_mode)) {
        read_folder(request, out, result);
        return;
    }
    if (!S_ISREG(found.st_mode)) {
        result_say(result, EINVAL, "%s is neither a file nor a folder", request->path);
        return;
    }
    int r = write_all(out, &kind, 1);
    if (r == 0)
        r = copy_bytes(fd, out, UINT64_MAX);
    if (r < 0)
        result_fail(result, -r, "%s", request->path);
}

/* ---- write ---- */

typedef struct Target {
    char path[PATH_MAX]; /* links resolved */
    char folder[PATH_MAX];
    char name[NAME_MAX + 1];
    char scratch[NAME_MAX + 1]; /* "": the new file has no name yet */
    int folder_fd;              /* owned */
    struct stat old;
    bool exists;
} Target;

/* What the path means in the end, so that the new file comes beside that. */
static int find_target(const FileRequest *request, Target *target, Result *result) {
    const char *path = request->path;
    char copy[PATH_MAX];
    if (path[0] == '\0' || strlen(path) >= PATH_MAX)
        return result_say(result, EINVAL, "no path was given");
    if (!realpath(path, target->path)) {
        struct stat link;
        if (errno != ENOENT || (lstat(path, &link) == 0 && S_ISLNK(link.st_mode)))
            return result_fail(result, errno, "%s", path);
        copy_text(target->path, sizeof(target->path), path);
    }
    if (target->path[strlen(target->path) - 1] == '/')
        return result_fail(result, EISDIR, "%s", path);
    copy_text(copy, sizeof(copy), target->path);
    copy_text(target->folder, sizeof(target->folder), dirname(copy));
    copy_text(copy, sizeof(copy), target->path);
    if (strlen(basename(copy)) > NAME_MAX)
        return result_fail(result, ENAMETOOLONG, "%s", path);
    copy_text(target->name, sizeof(target->name), basename(copy));
    target->folder_fd = open(target->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (target->folder_fd < 0)
        return result_fail(result, errno, "%s", path);
    target->exists = fstatat(target->folder_fd, target->name, &target->old, 0) == 0;
    if (target->exists && S_ISDIR(target->old.st_mode))
        return result_fail(result, EISDIR, "%s", path);
    return 0;
}

static int write_in_place(const Target *target, uint64_t size, int in, Result *result) {
    _cleanup_close_ int fd = openat(target->folder_fd, target->name,
                                    O_WRONLY | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return result_fail(result, errno, "%s", target->path);
    (void)fcntl(fd, F_SETFL, 0);
    int r = copy_bytes(in, fd, size);
    return r < 0 ? result_fail(result, -r, "%s", target->path) : 0;
}

static void name_scratch(Target *target) {
    (void)snprintf(target->scratch, sizeof(target->scratch), ".ramet-write-%d-%llu", (int)getpid(),
                   (unsigned long long)now_usec());
}

static int open_scratch(Target *target) {
    int fd = openat(target->folder_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || errno == EROFS || errno == EACCES || errno == ENOSPC)
        return fd;
    name_scratch(target);
    return openat(target->folder_fd, target->scratch, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

static int set_attributes(const Target *target, uint64_t mode, int fd) {
    mode_t wanted = target->exists ? target->old.st_mode & 07777 : (mode_t)(mode & 07777);
    if (target->exists && fchown(fd, target->old.st_uid, target->old.st_gid) < 0)
        return -errno;
    return fchmod(fd, wanted) < 0 ? -errno : 0;
}

/* Names the new file, where it has no name yet, and puts it in the place of the old one. */
static int put_in_place(Target *target, int fd) {
    char self[64];
    if (!target->scratch[0]) {
        (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
        name_scratch(target);
        if (linkat(AT_FDCWD, self, target->folder_fd, target->scratch, AT_SYMLINK_FOLLOW) < 0)
            return -errno;
    }
    return renameat(target->folder_fd, target->scratch, target->folder_fd, target->name) < 0
               ? -errno
               : 0;
}

static int write_new(Target *target, const FileRequest *request, int in, Result *result) {
    _cleanup_close_ int fd = open_scratch(target);
    int r = fd < 0 ? -errno : copy_bytes(in, fd, request->size);
    if (r == 0)
        r = set_attributes(target, request->mode, fd);
    if (r == 0)
        r = put_in_place(target, fd);
    if (r == -EBUSY) /* another file is mounted on it, as the agent does in /etc */
        r = lseek(fd, 0, SEEK_SET) < 0 ? -errno : write_in_place(target, UINT64_MAX, fd, result);
    else if (r < 0)
        (void)result_fail(result, -r, "%s", target->path);
    if (target->scratch[0] && fd >= 0)
        (void)unlinkat(target->folder_fd, target->scratch, 0); /* not there after the rename */
    return r;
}

void file_write_worker(void *data, int in, int out, Result *result) {
    const FileRequest *request = data;
    static Target target;
    (void)out;
    target = (Target){.folder_fd = -1};
    if (find_target(request, &target, result) == 0) {
        if (target.exists && !S_ISREG(target.old.st_mode))
            (void)write_in_place(&target, request->size, in, result);
        else
            (void)write_new(&target, request, in, result);
    }
    close_fd(&target.folder_fd);
}

/* ---- stat ---- */

void file_stat_worker(void *data, int in, int out, Result *result) {
    const FileRequest *request = data;
    static uint8_t payload[PATH_MAX + 256];
    static char link[PATH_MAX];
    struct stat found;
    TlvWriter writer;
    ssize_t length = lstat(request->path, &found);
    (void)in;
    if (length == 0 && S_ISLNK(found.st_mode))
        length = readlink(request->path, link, sizeof(link));
    if (length < 0) {
        result_fail(result, errno, "%s", request->path);
        return;
    }
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, TAG_STAT_MODE, found.st_mode);
    tlv_add_u64(&writer, TAG_STAT_SIZE, (uint64_t)found.st_size);
    tlv_add_u64(&writer, TAG_STAT_UID, found.st_uid);
    tlv_add_u64(&writer, TAG_STAT_GID, found.st_gid);
    tlv_add_u64(&writer, TAG_STAT_MTIME_USEC,
                (uint64_t)found.st_mtim.tv_sec * 1000000u + (uint64_t)found.st_mtim.tv_nsec / 1000);
    if (S_ISLNK(found.st_mode))
        tlv_add(&writer, TAG_STAT_TARGET, link, (size_t)length);
    if (write_all(out, payload, writer.size) < 0)
        result_fail(result, EPIPE, "%s", request->path);
}
