/* SPDX-License-Identifier: Apache-2.0 */

#include "cli/export_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "cli/client.h"
#include "proto/archive_format.h"

#define TAIL_BYTES 65536 /* a failure is told within the last of them */

typedef struct Export {
    int fd; /* borrowed */
    uint64_t bytes;
    size_t tail_size;
    uint8_t *tail; /* owned: 2 * TAIL_BYTES */
    int result;
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
    out->result = fd_write_full(out->fd, bytes, size);
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
    r = http_call_data(fd, &call, on_data, &failure);
    if (out->result < 0)
        return error_set_errno(error, -out->result, "cannot write the archive");
    if (r < 0 && archive_find_failure(out->tail, out->tail_size, error) > 0)
        return error ? -error->errnum : -EIO;
    return r < 0 ? error_move(error, &failure) : 0;
}

/* Under another name until it is whole. */
static int to_file(ApiId id, const char *argument, const char *query, const char *file, Export *out,
                   Error *error) {
    _cleanup_free_ char *scratch = str_format("%s.part-%d", file, (int)getpid());
    _cleanup_close_ int fd = open(scratch, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int r;
    if (fd < 0)
        return error_set_errno(error, errno, "cannot write %s", scratch);
    out->fd = fd;
    r = fetch(id, argument, query, out, error);
    if (r >= 0 && (fsync(fd) < 0 || rename(scratch, file) < 0))
        r = error_set_errno(error, errno, "cannot write %s", file);
    if (r < 0)
        (void)unlink(scratch);
    return r;
}

int export_file(ApiId id, const char *argument, const char *query, const char *file,
                uint64_t *bytes, Error *error) {
    _cleanup_free_ uint8_t *tail = malloc((size_t)2 * TAIL_BYTES);
    Export out = {.fd = STDOUT_FILENO, .tail = tail};
    int r;
    if (!tail)
        abort();
    if (!str_equal(file, "-"))
        r = to_file(id, argument, query, file, &out, error);
    else if (isatty(STDOUT_FILENO))
        r = error_set(error, ERROR_USAGE, EINVAL,
                      "an archive is not written to a terminal; name a file");
    else
        r = fetch(id, argument, query, &out, error);
    if (r >= 0)
        *bytes = out.bytes;
    return r;
}
