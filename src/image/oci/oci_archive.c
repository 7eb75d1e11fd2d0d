/* SPDX-License-Identifier: Apache-2.0 */

/* skopeo copies all of a manifest, but does not fetch a blob whose file is there with the right
 * size. So in the folder that it copies to, what the cache has stands as a link, and what nobody
 * wants as an empty file of that size. What it fetched, each compared with its digest and named
 * only then, goes into the cache as it comes: a daemon that dies while another comes need not fetch
 * it again. */

#include "image/oci/oci_archive.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

static int open_blobs(const ImageContext *context, const ImagePullRequest *request,
                      OciArchive *archive, Error *error) {
    if (!archive->reference.folder)
        return oci_blobs_open_cache(context->home, &archive->blobs, error);
    archive->blobs = (OciBlobs){.folder = path_join(archive->reference.folder, "blobs"),
                                .open = request->open,
                                .data = request->open_data};
    return 0;
}

static int read_manifest(OciArchive *archive, Error *error) {
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = oci_blobs_read(&archive->blobs, archive->digest, &text, &size, error);
    if (r >= 0)
        r = oci_manifest_parse(text, size, &archive->manifest, error);
    if (r >= 0 && (!*archive->manifest.archive || archive->manifest.n_items < 2))
        r = error_set(error, ERROR_CORRUPT, EBADMSG, "its manifest is no archive's");
    return r;
}

int oci_archive_open(const ImageContext *context, const ImagePullRequest *request,
                     OciArchive *archive, Error *error) {
    OciArchive made = {0};
    int r = oci_reference_parse(request->reference, &made.reference, error);
    if (r < 0)
        return r;
    str_set(made.digest, request->archive->digest);
    r = open_blobs(context, request, &made, error);
    if (r >= 0)
        r = read_manifest(&made, error);
    if (r < 0) {
        oci_archive_free(&made);
        return r;
    }
    made.registry = (OciRegistry){.context = context,
                                  .repository = made.reference.repository,
                                  .auth_fd = request->auth_fd,
                                  .insecure = request->insecure};
    *archive = made;
    return 0;
}

void oci_archive_free(OciArchive *archive) {
    oci_reference_free(&archive->reference);
    oci_blobs_free(&archive->blobs);
    oci_manifest_free(&archive->manifest);
}

/* ---- fetching ---- */

static char *cached_path(const OciArchive *archive, size_t i) {
    return path_join(archive->blobs.folder, "sha256", archive->manifest.items[i].digest);
}

/* A link, an empty file, or nothing: then it is fetched. */
static int stand_in(const OciArchive *archive, size_t i, const char *path, bool wanted,
                    Error *error) {
    _cleanup_free_ char *cached = cached_path(archive, i);
    _cleanup_close_ int fd = -1;
    if (link(cached, path) == 0 || errno == EEXIST || (errno == ENOENT && wanted))
        return 0;
    if (errno != ENOENT)
        return error_set_errno(error, errno, "cannot link %s", cached);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 || ftruncate(fd, (off_t)archive->manifest.items[i].size) < 0
               ? error_set_errno(error, errno, "cannot write %s", path)
               : 0;
}

static char *blob_path(const OciArchive *archive, const char *blobs, size_t i) {
    return path_join(blobs, archive->manifest.items[i].digest);
}

/* What came goes to the cache; it is there already when somebody else was faster. */
static int keep(const OciArchive *archive, const char *blobs, const bool *wanted, Error *error) {
    int r = 0;
    for (size_t i = 0; i < archive->manifest.n_items; i++) {
        _cleanup_free_ char *path = blob_path(archive, blobs, i), *cached = cached_path(archive, i);
        struct stat info;
        if (!wanted[i] || lstat(path, &info) < 0 || !S_ISREG(info.st_mode) ||
            (uint64_t)info.st_size != archive->manifest.items[i].size)
            continue;
        if (link(path, cached) < 0 && errno != EEXIST)
            r = error_set_errno(error, errno, "cannot write %s", cached);
    }
    return r;
}

/* ---- while it comes ---- */

typedef struct Arrivals {
    const OciArchive *archive; /* borrowed, as are all of them */
    const char *blobs;
    const bool *wanted;
    int watch_fd, stop_fd; /* owned: inotify(7); readable: there is no more to come */
    pthread_t thread;
    bool running;
} Arrivals;

static void *keep_what_arrives(void *data) {
    const Arrivals *arrivals = data;
    struct pollfd fds[] = {{.fd = arrivals->watch_fd, .events = POLLIN},
                           {.fd = arrivals->stop_fd, .events = POLLIN}};
    char events[4096];
    while (poll(fds, ARRAY_SIZE(fds), -1) > 0 || errno == EINTR) {
        if (fds[1].revents)
            break;
        if (fds[0].revents && read(arrivals->watch_fd, events, sizeof(events)) > 0)
            (void)keep(arrivals->archive, arrivals->blobs, arrivals->wanted, NULL);
    }
    return NULL;
}

/* Each part goes into the cache once it has its name, for the case that we come to no end. Where
 * that cannot be, it goes at the end. */
static void arrivals_start(Arrivals *arrivals) {
    arrivals->watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    arrivals->stop_fd = eventfd(0, EFD_CLOEXEC);
    arrivals->running = arrivals->watch_fd >= 0 && arrivals->stop_fd >= 0 &&
                        inotify_add_watch(arrivals->watch_fd, arrivals->blobs, IN_MOVED_TO) >= 0 &&
                        pthread_create(&arrivals->thread, NULL, keep_what_arrives, arrivals) == 0;
}

static void arrivals_stop(Arrivals *arrivals) {
    if (arrivals->running && eventfd_write(arrivals->stop_fd, 1) == 0)
        (void)pthread_join(arrivals->thread, NULL);
    (void)fd_close(arrivals->watch_fd);
    (void)fd_close(arrivals->stop_fd);
}

static int copy(const OciArchive *archive, const char *layout, const char *blobs,
                const bool *wanted, Error *error) {
    _cleanup_free_ char *which = str_format("@sha256:%s", archive->digest);
    Arrivals arrivals = {.archive = archive, .blobs = blobs, .wanted = wanted};
    int r;
    arrivals_start(&arrivals);
    r = oci_skopeo_copy(&archive->registry, which, layout, error);
    arrivals_stop(&arrivals);
    return r;
}

static int fetch_into(const OciArchive *archive, const char *layout, const bool *wanted,
                      Error *error) {
    _cleanup_free_ char *blobs = path_join(layout, "blobs/sha256");
    int r = path_make_folders(blobs, 0700);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make %s", blobs);
    for (size_t i = 0; r >= 0 && i < archive->manifest.n_items; i++) {
        _cleanup_free_ char *path = blob_path(archive, blobs, i);
        r = stand_in(archive, i, path, wanted[i], error);
    }
    if (r < 0)
        return r;
    r = copy(archive, layout, blobs, wanted, error);
    return r < 0 ? (void)keep(archive, blobs, wanted, NULL),
           r     : keep(archive, blobs, wanted, error);
}

static bool lacks(const OciArchive *archive, const bool *wanted) {
    for (size_t i = 0; i < archive->manifest.n_items; i++)
        if (wanted[i] && !oci_blobs_have(&archive->blobs, archive->manifest.items[i].digest))
            return true;
    return false;
}

int oci_archive_fetch(const OciArchive *archive, const bool *wanted, Error *error) {
    _cleanup_free_ char *layout = NULL;
    int r;
    if (archive->reference.folder || !lacks(archive, wanted))
        return 0;
    layout = oci_skopeo_layout(&archive->registry);
    r = fetch_into(archive, layout, wanted, error);
    (void)path_remove_tree(layout);
    return r;
}

int oci_archive_part(const OciArchive *archive, size_t i, int *fd, Error *error) {
    return oci_blobs_open(&archive->blobs, archive->manifest.items[i].digest, fd, error);
}

void oci_archive_drop(const OciArchive *archive) {
    for (size_t i = 0; !archive->reference.folder && i < archive->manifest.n_items; i++)
        oci_blobs_drop(&archive->blobs, archive->manifest.items[i].digest);
}
