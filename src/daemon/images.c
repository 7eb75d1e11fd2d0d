/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about images. A client may name files on this host; a daemon of root opens them with the
 * client's rights, or it would read for a member of its group what that member may not. */

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "catalog/images.h"
#include "daemon/handlers.h"
#include "proto/archive_format.h"
#include "recipe/recipe.h"
#include "transfer/transfer.h"
#include "verbs/verbs.h"

/* A kernel and its modules are a file and a tree that tools of ours read by path, so only those may
 * name them who may read all that we may. */
static int check_kernel(const Request *request, Error *error) {
    if (!request_text(request, "kernel") && !request_text(request, "modules"))
        return 0;
    if (request->peer->uid == 0 || request->peer->uid == geteuid())
        return 0;
    return error_set(error, ERROR_PERMISSION, EACCES, "only root may bring a kernel of its own");
}

HANDLER(handle_image_list) {
    return image_op_list(request->home, answer, error);
}

HANDLER(handle_image_inspect) {
    return image_op_inspect(request->home, request->argument, answer, error);
}

HANDLER(handle_image_remove) {
    (void)answer;
    return image_op_remove(request->home, &request->operation, request->argument, error);
}

HANDLER(handle_image_tag) {
    return image_op_tag(request->home, &request->operation, request->argument,
                        request_text(request, "name"), request_flag(request, "replace"), answer,
                        error);
}

HANDLER(handle_image_build) {
    const json_t *include = json_object_get(request->input, "include"), *package;
    size_t n_include = json_array_size(include), i;
    _cleanup_free_ const char **packages = calloc(n_include + 1, sizeof(*packages));
    ImageBuildOptions options = {.name = request_text(request, "name"),
                                 .from = request_text(request, "from"),
                                 .include = packages,
                                 .n_include = n_include,
                                 .size_bytes = request_number(request, "size", 0),
                                 .kernel = request_text(request, "kernel"),
                                 .modules = request_text(request, "modules"),
                                 .seeds = json_object_get(request->input, "seeds"),
                                 .replace = request_flag(request, "replace")};
    int r = check_kernel(request, error);
    if (r >= 0 && options.seeds)
        r = peer_check_folder(request->peer, "its seeds' folders", error);
    if (r < 0)
        return r;
    if (!packages)
        return error_set_errno(error, ENOMEM, "cannot build the image");
    json_array_foreach(include, i, package) packages[i] = json_string_value(package);
    return image_op_build(request->home, &request->operation, &options, answer, error);
}

static int check_folder(void *data, const char *folder, Error *error) {
    return peer_check_folder(data, folder, error);
}

HANDLER(handle_image_recipe) {
    const RecipeOptions options = {.name = request_text(request, "name"),
                                   .keep = request_text(request, "keep"),
                                   .replace = request_flag(request, "replace"),
                                   .check_folder = check_folder,
                                   .data = request->peer,
                                   .fd = request->upload_fd,
                                   .json_bytes = request_number(request, "recipe_bytes", 0)};
    if (request->upload_fd < 0)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "a recipe comes as a body of application/octet-stream");
    return recipe_build(request->home, &request->operation, &options, answer, error);
}

/* Where the bytes come from: the upload, or a path. Returns a descriptor that the caller owns, or
 * -1 with options->path set. */
static int find_source(Request *request, ImageImportOptions *options, int *fd, Error *error) {
    const char *path = request_text(request, "path");
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

/* Does the source begin as an archive does? *fd is the caller's then. A pipe is not looked at: it
 * would have to be read. */
static bool is_archive(const ImageImportOptions *options, int *fd) {
    _cleanup_close_ int opened =
        options->fd >= 0 ? fcntl(options->fd, F_DUPFD_CLOEXEC, 3)
                         : open(options->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    uint8_t head[ARCHIVE_HEAD_BYTES];
    if (opened < 0 || fd_pread_full(opened, head, sizeof(head), 0) != sizeof(head) ||
        !archive_is_head(head, sizeof(head)))
        return false;
    *fd = TAKE_FD(opened);
    return true;
}

/* What is said of a disk says nothing of an archive, which has all of it inside. */
static int import_archive(Request *request, int fd, json_t **answer, Error *error) {
    static const char *const DISKS[] = {"kernel", "modules", "format", "sha256", "boot", "machine"};
    const ArchiveImport import = {.fd = fd,
                                  .name = request_text(request, "name"),
                                  .replace = request_flag(request, "replace")};
    for (size_t i = 0; i < ARRAY_SIZE(DISKS); i++)
        if (request_text(request, DISKS[i]))
            return error_set(error, ERROR_USAGE, EINVAL,
                             "%s is for disks, and this is an archive that ramet exported",
                             DISKS[i]);
    return archive_import_image(request->home, &request->operation, &import, answer, error);
}

HANDLER(handle_image_import) {
    _cleanup_close_ int opened = -1;
    int archive = -1;
    ImageImportOptions options = {.name = request_text(request, "name"),
                                  .fd = -1,
                                  .sha256 = request_text(request, "sha256"),
                                  .format = request_text(request, "format"),
                                  .boot = request_text(request, "boot"),
                                  .machine = request_text(request, "machine"),
                                  .size_bytes = request_number(request, "size", 0),
                                  .kernel = request_text(request, "kernel"),
                                  .modules = request_text(request, "modules"),
                                  .replace = request_flag(request, "replace")};
    int r = check_kernel(request, error);
    if (r == 0)
        r = find_source(request, &options, &opened, error);
    if (r < 0)
        return r;
    if (opened >= 0)
        options.fd = opened;
    if (is_archive(&options, &archive)) {
        _cleanup_close_ int fd = archive;
        return import_archive(request, fd, answer, error);
    }
    if (!options.name)
        return error_set(error, ERROR_USAGE, EINVAL, "the image needs a name (--name)");
    return image_op_import(request->home, &request->operation, &options, answer, error);
}

/* ---- pulling, of snapshots as well ---- */

static bool is_other(const Peer *peer) {
    return peer->uid != 0 && peer->uid != geteuid();
}

static int open_for_peer(void *data, const char *path, int *fd, Error *error) {
    return peer_open_file(data, path, fd, error);
}

/* Somebody else's credentials are not for a client: who names none of its own has none. */
static int open_no_credentials(int *fd, Error *error) {
    *fd = memfd_create("auth.json", MFD_CLOEXEC);
    if (*fd < 0 || fd_write_full(*fd, "{}", 2) < 0)
        return error_set_errno(error, errno, "cannot make a file of credentials");
    return 0;
}

static int open_credentials(const Request *request, int *fd, Error *error) {
    const char *path = request_text(request, "authfile");
    if (is_other(request->peer))
        return path ? peer_open_file(request->peer, path, fd, error)
                    : open_no_credentials(fd, error);
    if (!path)
        return 0;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return *fd < 0 ? error_set_errno(error, errno, "cannot open %s", path) : 0;
}

static ImagePullRequest pull_request(Request *request, int auth_fd) {
    return (ImagePullRequest){.name = request_text(request, "name"),
                              .reference = request_text(request, "reference"),
                              .insecure = request_flag(request, "insecure"),
                              .auth_fd = auth_fd,
                              .open = is_other(request->peer) ? open_for_peer : NULL,
                              .open_data = request->peer};
}

HANDLER(handle_image_pull) {
    _cleanup_close_ int auth_fd = -1;
    int r = check_kernel(request, error);
    if (r == 0)
        r = open_credentials(request, &auth_fd, error);
    if (r < 0)
        return r;
    ImagePullOptions options = {.request = pull_request(request, auth_fd),
                                .replace = request_flag(request, "replace")};
    options.request.platform = request_text(request, "platform");
    options.request.size_bytes = request_number(request, "size", 0);
    options.request.kernel =
        (KernelSource){request_text(request, "kernel"), request_text(request, "modules")};
    return image_op_pull(request->home, &request->operation, &options, answer, error);
}

HANDLER(handle_snapshot_pull) {
    _cleanup_close_ int auth_fd = -1;
    int r = open_credentials(request, &auth_fd, error);
    if (r < 0)
        return r;
    const ImagePullRequest pull = pull_request(request, auth_fd);
    return transfer_pull_snapshot(request->home, &request->operation, &pull, answer, error);
}
