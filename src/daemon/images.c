/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about images. A client may name files on this host; a daemon of root opens them with the
 * client's rights, or it would read for a member of its group what that member may not. */

#include "vm/images.h"

#include <errno.h>
#include <unistd.h>

#include "base/fd.h"
#include "daemon/handlers.h"

static const char *member_text(const Request *request, const char *name) {
    return json_string_value(json_object_get(request->input, name));
}

static uint64_t member_number(const Request *request, const char *name) {
    const json_t *value = json_object_get(request->input, name);

    return json_is_integer(value) ? (uint64_t)json_integer_value(value) : 0;
}

/* A kernel and its modules are a file and a tree that tools of ours read by path, so only those may
 * name them who may read all that we may. */
static int check_kernel(const Request *request, Error *error) {
    if (!member_text(request, "kernel") && !member_text(request, "modules"))
        return 0;
    if (request->peer->uid == 0 || request->peer->uid == geteuid())
        return 0;
    return error_set(error, ERROR_PERMISSION, EACCES, "only root may bring a kernel of its own");
}

HANDLER(handle_image_list) {
    return image_op_list(request->ramet, answer, error);
}

HANDLER(handle_image_inspect) {
    return image_op_inspect(request->ramet, request->operation.cancel_fd, request->argument, answer,
                            error);
}

HANDLER(handle_image_remove) {
    (void)answer;
    return image_op_remove(request->ramet, &request->operation, request->argument, error);
}

HANDLER(handle_image_build) {
    const json_t *include = json_object_get(request->input, "include"), *package;
    size_t n_include = json_array_size(include), i;
    _cleanup_free_ const char **packages = calloc(n_include + 1, sizeof(*packages));
    ImageBuildOptions options = {.name = member_text(request, "name"),
                                 .from = member_text(request, "from"),
                                 .include = packages,
                                 .n_include = n_include,
                                 .size_bytes = member_number(request, "size"),
                                 .kernel = member_text(request, "kernel"),
                                 .modules = member_text(request, "modules")};
    int r = check_kernel(request, error);

    if (r < 0)
        return r;
    if (!packages)
        return error_set_errno(error, ENOMEM, "cannot build the image");
    json_array_foreach(include, i, package) packages[i] = json_string_value(package);
    return image_op_build(request->ramet, &request->operation, &options, answer, error);
}

/* Where the bytes come from: the upload, or a path. Returns a descriptor that the caller owns, or
 * -1 with options->path set. */
static int find_source(Request *request, ImageImportOptions *options, int *fd, Error *error) {
    const char *path = member_text(request, "path");
    Peer *peer = request->peer;

    if ((request->upload_fd >= 0) == (path != NULL))
        return error_set(error, ERROR_USAGE, 0,
                         path ? "both a path and an upload" : "neither a path nor an upload");
    if (!path) {
        if (lseek(request->upload_fd, 0, SEEK_SET) < 0)
            return error_set_errno(error, errno, "cannot read the upload");
        options->fd = request->upload_fd;
        return 0;
    }
    if (peer->uid == geteuid() || peer->uid == 0) {
        options->path = path;
        return 0;
    }
    return peer_open_file(peer, path, fd, error);
}

HANDLER(handle_image_import) {
    _cleanup_close_ int opened = -1;
    ImageImportOptions options = {
        .name = member_text(request, "name"),
        .fd = -1,
        .sha256 = member_text(request, "sha256"),
        .format = member_text(request, "format"),
        .size_bytes = member_number(request, "size"),
        .kernel = member_text(request, "kernel"),
        .modules = member_text(request, "modules"),
        .defer_digest = json_is_true(json_object_get(request->input, "defer_digest"))};
    int r = check_kernel(request, error);

    if (r == 0)
        r = find_source(request, &options, &opened, error);
    if (r < 0)
        return r;
    if (opened >= 0)
        options.fd = opened;
    return image_op_import(request->ramet, &request->operation, &options, answer, error);
}
