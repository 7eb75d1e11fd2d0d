/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that send an archive, or bring one. One goes out as the body of the response. The stream
 * is opened with its first bytes, so what goes wrong before is an answer as any other; later it is
 * told at the end of the archive, and the body is cut. */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "daemon/handlers.h"
#include "transfer/transfer.h"

static int send_bytes(void *data, const void *bytes, size_t size, Error *error) {
    Request *request = data;
    if (request->response.fd < 0) {
        int r = request_open_stream(request, "application/vnd.ramet.archive", error);
        if (r < 0)
            return r;
    }
    response_send(&request->response, bytes, size);
    return request->response.broken
               ? error_set(error, ERROR_CANCELLED, ECANCELED, "the client went away")
               : 0;
}

static ArchiveOutput output_of(Request *request) {
    return (ArchiveOutput){.send = send_bytes, .data = request, .cancel_fd = -1};
}

HANDLER(handle_image_export) {
    const ArchiveOutput output = output_of(request);
    (void)answer;
    return image_export(request->home, &request->operation, request->argument, &output, error);
}

HANDLER(handle_snapshot_export) {
    const ArchiveOutput output = output_of(request);
    (void)answer;
    return snapshot_export(request->home, &request->operation, request->argument,
                           request_text(request, "since"), &output, error);
}

/* The upload, or a file that the client may read. The descriptor is the caller's. */
static int open_archive(Request *request, int *fd, Error *error) {
    const char *path = request_text(request, "path");
    if ((request->upload_fd >= 0) == (path != NULL))
        return error_set(error, ERROR_USAGE, 0,
                         path ? "both a path and an upload" : "neither a path nor an upload");
    if (path && request->peer->uid != geteuid() && request->peer->uid != 0)
        return peer_open_file(request->peer, path, fd, error);
    *fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
               : fcntl(request->upload_fd, F_DUPFD_CLOEXEC, 3);
    if (*fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path ? path : "the upload");
    (void)lseek(*fd, 0, SEEK_SET);
    return 0;
}

HANDLER(handle_snapshot_import) {
    _cleanup_close_ int fd = -1;
    ArchiveImport import = {.name = request_text(request, "name")};
    int r = open_archive(request, &fd, error);
    if (r < 0)
        return r;
    import.fd = fd;
    return archive_import_snapshot(request->home, &request->operation, &import, answer, error);
}
