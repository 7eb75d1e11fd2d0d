/* SPDX-License-Identifier: Apache-2.0 */
#include "image/oci/oci_blobs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

int oci_blobs_open_cache(const char *home, OciBlobs *blobs, Error *error) {
    _cleanup_free_ char *folder = path_join(home, "oci"), *kind = path_join(folder, "sha256");
    int r = path_make_folders(kind, 0700), fd;
    if (r < 0)
        return error_set_errno(error, -r, "cannot make %s", kind);
    fd = open(kind, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_SH) < 0) {
        r = error_set_errno(error, errno, "cannot lock %s", kind);
        (void)fd_close(fd);
        return r;
    }
    *blobs = (OciBlobs){.folder = TAKE_PTR(folder), .lock_fd = fd};
    return 0;
}

void oci_blobs_free(OciBlobs *blobs) {
    free(blobs->folder);
    if (blobs->lock_fd > 0)
        (void)fd_close(blobs->lock_fd);
    *blobs = (OciBlobs){0};
}

static char *blob_path(const OciBlobs *blobs, const char *digest) {
    return str_format("%s/sha256/%s", blobs->folder, digest);
}

int oci_blobs_open_path(const OciBlobs *blobs, const char *path, int *fd, Error *error) {
    _cleanup_close_ int opened = -1;
    struct stat st;
    int r = 0;
    if (blobs->open)
        r = blobs->open(blobs->data, path, &opened, error);
    else
        opened = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (r < 0)
        return r;
    if (opened < 0 || fstat(opened, &st) < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(error, ERROR_CORRUPT, EBADMSG, "%s is no regular file", path);
    *fd = TAKE_FD(opened);
    return 0;
}

int oci_blobs_open(const OciBlobs *blobs, const char *digest, int *fd, Error *error) {
    _cleanup_free_ char *path = blob_path(blobs, digest);
    return oci_blobs_open_path(blobs, path, fd, error);
}

bool oci_blobs_have(const OciBlobs *blobs, const char *digest) {
    _cleanup_free_ char *path = blob_path(blobs, digest);
    return access(path, R_OK) == 0;
}

static int check(const char *digest, const char *text, size_t size, Error *error) {
    char found[SHA256_HEX_SIZE];
    sha256_data(text, size, found);
    if (str_equal(found, digest))
        return 0;
    error_set(error, ERROR_CORRUPT, EBADMSG, "the digest lies: it is sha256:%s, not sha256:%s",
              found, digest);
    error_set_hint(error, "it was damaged, or somebody changed it: pull from elsewhere");
    return -EBADMSG;
}

int oci_blobs_read(const OciBlobs *blobs, const char *digest, char **text, size_t *size,
                   Error *error) {
    _cleanup_close_ int fd = -1;
    _cleanup_free_ char *read = NULL;
    struct stat st;
    int r = oci_blobs_open(blobs, digest, &fd, error);
    if (r < 0)
        return r;
    if (fstat(fd, &st) < 0)
        return error_set_errno(error, errno, "cannot read %s", digest);
    if ((uint64_t)st.st_size > OCI_DOCUMENT_MAX)
        return error_set(error, ERROR_CORRUPT, EFBIG, "a document of more than 4 MiB");
    read = malloc((size_t)st.st_size + 1);
    if (!read)
        abort();
    if (fd_pread_full(fd, read, (size_t)st.st_size, 0) != (ssize_t)st.st_size)
        return error_set(error, ERROR_FAILED, EIO, "cannot read sha256:%s", digest);
    read[st.st_size] = '\0';
    r = check(digest, read, (size_t)st.st_size, error);
    if (r < 0)
        return r;
    *text = TAKE_PTR(read);
    *size = (size_t)st.st_size;
    return 0;
}

int oci_blobs_keep(const OciBlobs *cache, const char *digest, const char *text, size_t size,
                   Error *error) {
    _cleanup_free_ char *folder = path_join(cache->folder, "sha256");
    _cleanup_close_ int fd = -1;
    int r = check(digest, text, size, error);
    if (r < 0)
        return r;
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r = fd < 0 ? -errno : path_write_atomic_at(fd, digest, text, size, 0600);
    return r < 0 ? error_set_errno(error, -r, "cannot write to %s", folder) : 0;
}

void oci_blobs_drop(const OciBlobs *cache, const char *digest) {
    _cleanup_free_ char *path = blob_path(cache, digest);
    (void)unlink(path);
}
