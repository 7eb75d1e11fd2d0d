/* SPDX-License-Identifier: Apache-2.0 */

/* From a registry: the first part has the archive's manifest, which says what the others hold. What
 * is here is not fetched, and what was fetched once stays in the cache. The parts are joined to an
 * archive, and that is imported. What looked as if it were here may be another of the same name, or
 * the cache is damaged: then all is fetched anew, once. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "catalog/images.h"
#include "disk/base_file.h"
#include "frozen/layers.h"
#include "home/inside.h"
#include "image/oci/oci_archive.h"
#include "proto/archive_parts.h"
#include "transfer/transfer.h"
#include "transfer/transfer_parts.h"

typedef struct Pull {
    Home *home; /* borrowed, as are the next two */
    Operation *operation;
    const ImagePullRequest *request;
    OciArchive archive; /* owned, as are all of these */
    json_t *manifest;
    ArchiveMembers members;
    bool *wanted; /* of the parts */
    int *parts;   /* descriptors; -1: left out */
} Pull;

static void pull_free(Pull *pull) {
    for (size_t i = 0; pull->parts && i < pull->archive.manifest.n_items; i++)
        (void)fd_close(pull->parts[i]);
    free(pull->parts);
    free(pull->wanted);
    json_decref(pull->manifest);
    archive_members_free(&pull->members);
    oci_archive_free(&pull->archive);
}

static void tell(void *data, const char *step, uint64_t done, uint64_t total) {
    operation_progress(data, step, done, total);
}

/* Within a stage: the first one may change what cancels. */
static ImageContext context_of(Operation *operation, const Home *home) {
    return (ImageContext){.home = home->path,
                          .progress = tell,
                          .progress_data = operation,
                          .cancel_fd = operation->cancel_fd};
}

static bool is_file(const char *path) {
    return access(path, R_OK) == 0;
}

static bool is_here(Pull *pull, const ArchiveMember *member) {
    const char *home = pull->home->path;
    _cleanup_free_ char *path = NULL;
    if (str_equal(member->name, "kernel"))
        return archive_kernel_is_here(home, pull->manifest, &pull->members,
                                      pull->operation->cancel_fd);
    if (str_equal(member->name, TRANSFER_BASE))
        path = base_path(home, member->digest);
    else if (str_has_prefix(member->name, "seed-"))
        path = seed_base_path(home, member->digest);
    else if (str_has_prefix(member->name, "layer-"))
        path = layer_path(pull->home, member->name + strlen("layer-"));
    return path && is_file(path);
}

/* By its title, "member-NAME". */
static const ArchiveMember *member_of(Pull *pull, size_t part) {
    const char *title = pull->archive.manifest.items[part].title;
    return title && str_has_prefix(title, "member-")
               ? archive_members_find(&pull->members, title + strlen("member-"))
               : NULL;
}

static int open_part(Pull *pull, size_t i, Error *error) {
    return oci_archive_part(&pull->archive, i, &pull->parts[i], error);
}

static int fetch_manifest(Pull *pull, Error *error) {
    int r;
    pull->wanted[0] = true;
    r = oci_archive_fetch(&pull->archive, pull->wanted, error);
    if (r >= 0)
        r = open_part(pull, 0, error);
    if (r >= 0)
        r = archive_parts_manifest(pull->parts[0], &pull->manifest, error);
    return r < 0 ? r
                 : archive_members_from_json(json_object_get(pull->manifest, "members"),
                                             &pull->members, error);
}

static void tell_size(Pull *pull) {
    uint64_t bytes = 0;
    size_t count = 0;
    for (size_t i = 0; i < pull->archive.manifest.n_items; i++)
        if (pull->wanted[i]) {
            bytes += pull->archive.manifest.items[i].size;
            count++;
        }
    _cleanup_free_ char *size = format_size(bytes);
    _cleanup_free_ char *step =
        str_format("fetching %zu of %zu parts (%s)", count, pull->archive.manifest.n_items, size);
    operation_progress(pull->operation, step, 0, 0);
}

static int fetch_parts(Pull *pull, bool all, Error *error) {
    size_t count = pull->archive.manifest.n_items;
    int r;
    for (size_t i = 1; i < count; i++) {
        const ArchiveMember *member = all ? NULL : member_of(pull, i);
        pull->wanted[i] = !member || !is_here(pull, member);
    }
    tell_size(pull);
    r = oci_archive_fetch(&pull->archive, pull->wanted, error);
    for (size_t i = 1; r >= 0 && i < count; i++)
        if (pull->wanted[i])
            r = open_part(pull, i, error);
    return r;
}

/* Without a name, so that nothing of it stays. */
static int join(Pull *pull, int *archive, Error *error) {
    _cleanup_free_ char *folder = path_join(pull->home->path, "tmp");
    _cleanup_close_ int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    int r = fd < 0 ? error_set_errno(error, errno, "cannot make scratch")
                   : archive_parts_join(pull->parts, pull->archive.manifest.n_items, fd, error);
    if (r >= 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = error_set_errno(error, errno, "cannot read the archive");
    if (r >= 0)
        *archive = TAKE_FD(fd);
    return r;
}

static int begin(Pull *pull, const ImageContext *context, const char *kind, Error *error) {
    size_t count;
    int r;
    if (!str_equal(pull->request->archive->kind, kind)) {
        error_set(error, ERROR_USAGE, EINVAL, "it is a %s, no %s", pull->request->archive->kind,
                  kind);
        error_set_hint(error, "ramet %s pull", pull->request->archive->kind);
        return -EINVAL;
    }
    r = oci_archive_open(context, pull->request, &pull->archive, error);
    if (r < 0)
        return r;
    count = pull->archive.manifest.n_items;
    pull->wanted = calloc(count, sizeof(*pull->wanted));
    pull->parts = calloc(count, sizeof(*pull->parts));
    if (!pull->wanted || !pull->parts)
        abort();
    memset(pull->parts, 0xff, count * sizeof(*pull->parts));
    return 0;
}

/* The archive, as a file that is the caller's. */
static int fetch(Home *home, Operation *operation, const ImagePullRequest *request,
                 const char *kind, bool all, int *archive, Error *error) {
    _cleanup_(pull_free) Pull pull = {.home = home, .operation = operation, .request = request};
    operation_enter(operation, "fetch");
    const ImageContext context = context_of(operation, home);
    int r = begin(&pull, &context, kind, error);
    if (r < 0)
        return r;
    if (all)
        oci_archive_drop(&pull.archive);
    r = fetch_manifest(&pull, error);
    if (r >= 0)
        r = fetch_parts(&pull, all, error);
    return r < 0 ? r : join(&pull, archive, error);
}

typedef int (*Import)(Home *home, Operation *operation, const ArchiveImport *import,
                      json_t **answer, Error *error);

static int pull_once(Home *home, Operation *operation, const ImagePullRequest *request,
                     const char *kind, bool all, const ArchiveImport *asked, Import import,
                     json_t **answer, Error *error) {
    ArchiveImport with = *asked;
    _cleanup_close_ int archive = -1;
    int r = fetch(home, operation, request, kind, all, &archive, error);
    with.fd = archive;
    return r < 0 ? r : import(home, operation, &with, answer, error);
}

static int pull(Home *home, Operation *operation, const ImagePullRequest *request, const char *kind,
                const ArchiveImport *asked, Import import, json_t **answer, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = pull_once(home, operation, request, kind, false, asked, import, answer, &failure);
    if (r < 0 && failure.kind == ERROR_CORRUPT)
        r = pull_once(home, operation, request, kind, true, asked, import, answer, error);
    else if (r < 0)
        r = error_move(error, &failure);
    return r < 0 ? error_add_context(error, "cannot pull %s", request->reference) : 0;
}

int transfer_pull_image(Home *home, Operation *operation, const ImagePullRequest *request,
                        bool replace, json_t **image, Error *error) {
    OciReference reference = {0};
    _cleanup_free_ char *name = NULL;
    int r;
    if (request->size_bytes || request->platform || request->kernel.kernel ||
        request->kernel.modules)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "size, platform, kernel and modules are for images of containers, and %s "
                         "is one that ramet pushed",
                         request->reference);
    r = oci_reference_parse(request->reference, &reference, error);
    if (r >= 0 && !request->name)
        r = oci_reference_name(&reference, &name, error);
    oci_reference_free(&reference);
    if (r < 0)
        return r;
    ArchiveImport import = {.fd = -1,
                            .name = request->name ? request->name : name,
                            .source = request->reference,
                            .replace = replace};
    import.replace = replace || catalog_image_is_of(home, import.name, request->reference);
    return pull(home, operation, request, "image", &import, archive_import_image, image, error);
}

int transfer_pull_snapshot(Home *home, Operation *operation, const ImagePullRequest *request,
                           json_t **snapshot, Error *error) {
    const ArchiveImport import = {.fd = -1, .name = request->name};
    ImagePullRequest asked = *request;
    OciArchiveId archive;
    int r;
    asked.name = NULL;
    asked.archive = &archive;
    asked.archive_only = true;
    operation_enter(operation, "plan");
    const ImageContext context = context_of(operation, home);
    r = image_pull(&context, &asked, NULL, error);
    return r < 0 ? r
                 : pull(home, operation, &asked, "snapshot", &import, archive_import_snapshot,
                        snapshot, error);
}
