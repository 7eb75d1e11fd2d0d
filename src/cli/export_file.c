/* SPDX-License-Identifier: Apache-2.0 */

#include "cli/export_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "cli/client.h"
#include "proto/archive_format.h"

#define TAIL_BYTES 65536 /* a failure is told within the last of them */

typedef struct Export {
    ExportTake take;
    void *data; /* borrowed, as is the Error */
    Error *error;
    uint64_t bytes;
    size_t tail_size;
    uint8_t *tail; /* owned: 2 * TAIL_BYTES */
    int result;    /* of take */
} Export;

static void keep_tail(Export *out, const uint8_t *bytes, size_t size) {
    if (size > TAIL_BYTES) {
        bytes += size - TAIL_BYTES;
        size = TAIL_BYTES;
    }
    if (out->tail_size + size > (size_t)2 * TAIL_BYTES) {
        memmove(out->tail, out->tail + out->tail_size - TAIL_BYTES, TAIL_BYTES);
        out->tail_size = TAIL_BYTES;
    }
    memcpy(out->tail + out->tail_size, bytes, size);
    out->tail_size += size;
}

static int on_data(void *data, const void *bytes, size_t size) {
    Export *out = data;
    out->result = out->take(out->data, bytes, size, out->error);
    out->bytes += size;
    keep_tail(out, bytes, size);
    return out->result;
}

static int fetch(ApiId id, const char *argument, const char *query, Export *out, Error *error) {
    _cleanup_free_ char *path = api_path(id, argument, query);
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_close_ int fd = -1;
    HttpCall call = HTTP_CALL(api_operation(id)->method, path);
    int r = client_connect(&fd, error);
    if (r < 0)
        return r;
    call.data = out;
    out->error = error;
    r = http_call_data(fd, &call, on_data, &failure);
    if (out->result < 0)
        return out->result;
    if (r < 0 && archive_find_failure(out->tail, out->tail_size, error) > 0)
        return error ? -error->errnum : -EIO;
    return r < 0 ? error_move(error, &failure) : 0;
}

int export_stream(ApiId id, const char *argument, const char *query, ExportTake take, void *data,
                  uint64_t *bytes, Error *error) {
    _cleanup_free_ uint8_t *tail = malloc((size_t)2 * TAIL_BYTES);
    Export out = {.take = take, .data = data, .tail = tail};
    int r;
    if (!tail)
        abort();
    r = fetch(id, argument, query, &out, error);
    if (r >= 0)
        *bytes = out.bytes;
    return r;
}

/* To the descriptor. */
static int write_bytes(void *data, const void *bytes, size_t size, Error *error) {
    const int *fd = data;
    int r = fd_write_full(*fd, bytes, size);
    return r < 0 ? error_set_errno(error, -r, "cannot write the archive") : 0;
}

/* Without a name, so that nothing is left of it when we are killed; where the file system has no
 * such files, under `scratch`. *named says which. */
static int open_scratch(const char *file, const char *scratch, bool *named, Error *error) {
    const char *slash = strrchr(file, '/');
    _cleanup_free_ char *folder = slash ? strndup(file, (size_t)(slash - file) + 1) : str_copy(".");
    int fd = open(str_or_empty(folder), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    *named = fd < 0;
    if (fd < 0)
        fd = open(scratch, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? error_set_errno(error, errno, "cannot write %s", file) : fd;
}

/* It is whole: durable, and then there. */
static int give_name(int fd, bool named, const char *scratch, const char *file, Error *error) {
    _cleanup_free_ char *opened = str_format("/proc/self/fd/%d", fd);
    if (fsync(fd) < 0 ||
        (!named && linkat(AT_FDCWD, opened, AT_FDCWD, scratch, AT_SYMLINK_FOLLOW) < 0) ||
        rename(scratch, file) < 0)
        return error_set_errno(error, errno, "cannot write %s", file);
    return 0;
}

/* A device or a pipe is written to as it stands, and not replaced by a file. 1: *fd is open. */
static int open_special(const char *file, int *fd, Error *error) {
    struct stat st;
    if (stat(file, &st) < 0 || S_ISREG(st.st_mode))
        return 0;
    *fd = open(file, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    return *fd < 0 ? error_set_errno(error, errno, "cannot write %s", file) : 1;
}

static int to_new_file(ApiId id, const char *argument, const char *query, const char *file,
                       uint64_t *bytes, Error *error) {
    _cleanup_free_ char *scratch = str_format("%s.part-%d", file, (int)getpid());
    bool named;
    _cleanup_close_ int fd = open_scratch(file, scratch, &named, error);
    int r = fd;
    if (r >= 0)
        r = export_stream(id, argument, query, write_bytes, &fd, bytes, error);
    if (r >= 0)
        r = give_name(fd, named, scratch, file, error);
    if (r < 0)
        (void)unlink(scratch);
    return r;
}

static int to_file(ApiId id, const char *argument, const char *query, const char *file,
                   uint64_t *bytes, Error *error) {
    _cleanup_close_ int fd = -1;
    int r = open_special(file, &fd, error);
    if (r == 0)
        return to_new_file(id, argument, query, file, bytes, error);
    return r < 0 ? r : export_stream(id, argument, query, write_bytes, &fd, bytes, error);
}

int export_file(ApiId id, const char *argument, const char *query, const char *file,
                uint64_t *bytes, Error *error) {
    int out = STDOUT_FILENO;
    if (!str_equal(file, "-"))
        return to_file(id, argument, query, file, bytes, error);
    if (isatty(out))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "an archive is not written to a terminal; name a file");
    return export_stream(id, argument, query, write_bytes, &out, bytes, error);
}
