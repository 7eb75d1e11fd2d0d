/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about volumes. */

#include <errno.h>

#include "base/fd.h"
#include "daemon/handlers.h"
#include "storage/volumes.h"

HANDLER(handle_volume_list) {
    return volume_list(request->home, answer, error);
}

HANDLER(handle_volume_create) {
    _cleanup_close_ int fd = -1;
    VolumeOptions options = {.name = request_text(request, "name"),
                             .size_bytes = request_number(request, "size", 0),
                             .seed = request_text(request, "seed"),
                             .fd = -1,
                             .source = request_text(request, "from")};
    int r = 0;
    if (options.seed && options.source)
        return error_set(error, ERROR_USAGE, EINVAL, "a volume is made of a seed or of a file");
    if (options.source)
        r = peer_open_file(request->peer, options.source, &fd, error);
    options.fd = fd;
    return r < 0 ? r : volume_create(request->home, &request->operation, &options, answer, error);
}

HANDLER(handle_volume_inspect) {
    return volume_inspect(request->home, request->argument, answer, error);
}

HANDLER(handle_volume_remove) {
    (void)answer;
    return volume_remove(request->home, request->argument, error);
}

HANDLER(handle_volume_export) {
    const char *path = request_text(request, "path"), *format = request_text(request, "format");
    int r = peer_check_folder(request->peer, path, error);
    (void)answer;
    return r < 0 ? r
                 : volume_export(request->home, &request->operation, request->argument, path,
                                 format ? format : "raw", error);
}
