/* SPDX-License-Identifier: Apache-2.0 */

/* One computes, the others wait for locks/digest-HEX.lock and look again; a failure is the next
 * one's to try again. The base's name and the rows change together under images_mutex, so that a
 * removal sees either state. After a crash in between the next daemon does it again. */

#include "vm/image_digest.h"

#include <errno.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/log.h"
#include "disk/base_file.h"
#include "image/deferred.h"

json_t *image_digest_to_json(const char *digest) {
    return base_id_source(digest) ? json_null() : json_string(digest);
}

void image_digest_look(const Ramet *ramet, char digest[IMAGE_ROW_DIGEST_SIZE]) {
    const char *source = base_id_source(digest);
    char hex[SHA256_HEX_SIZE];

    if (source && image_digest_find(ramet->home, source, hex))
        base_id_from_digest(hex, digest);
}

/* Names the base and tells all rows. */
static int settle(Ramet *ramet, const char *source, const char *hex, Error *error) {
    char from[BASE_ID_SIZE], to[BASE_ID_SIZE];
    int r;

    base_id_from_source(source, from);
    base_id_from_digest(hex, to);
    (void)pthread_mutex_lock(&ramet->images_mutex);
    r = image_digest_settle(ramet->home, source, hex, error);
    if (r >= 0)
        r = images_settle_digest(ramet->store, from, to, error);
    (void)pthread_mutex_unlock(&ramet->images_mutex);
    return r;
}

static int find_or_compute(Ramet *ramet, int cancel_fd, const char *source,
                           char hex[SHA256_HEX_SIZE], Error *error) {
    const ImageContext context = {.home = ramet->home, .cancel_fd = cancel_fd};

    return image_digest_find(ramet->home, source, hex)
               ? 0
               : image_digest_compute(&context, source, hex, error);
}

int image_digest_await(Ramet *ramet, int cancel_fd, char digest[IMAGE_ROW_DIGEST_SIZE],
                       Error *error) {
    const char *source = base_id_source(digest);
    _cleanup_free_ char *locks = path_join(ramet->home, "locks"), *name = NULL;
    _cleanup_close_ int lock_fd = -1;
    char hex[SHA256_HEX_SIZE];
    int r;

    if (!source)
        return 0;
    name = str_format("digest-%s", source);
    r = lock_acquire(locks, name, UINT64_MAX, cancel_fd, &lock_fd, error);
    if (r >= 0)
        r = find_or_compute(ramet, cancel_fd, source, hex, error);
    if (r >= 0)
        r = settle(ramet, source, hex, error);
    if (r < 0)
        return error_add_context(error, "cannot compute the digest of the image");
    base_id_from_digest(hex, digest);
    return 0;
}

int vm_await_digest(Ramet *ramet, Operation *operation, VmRow *row, Error *error) {
    if (!base_id_source(row->image_digest))
        return 0;
    operation_enter(operation, "digest");
    return image_digest_await(ramet, operation->cancel_fd, row->image_digest, error);
}

/* --- in the background -------------------------------------------------------------------------
 */

static void compute(Ramet *ramet, void *data) {
    _cleanup_free_ char *digest = data;
    _cleanup_error_ Error error = ERROR_INIT;
    int r = image_digest_await(ramet, ramet->closing_fd, digest, &error);

    if (r < 0 && error.kind != ERROR_CANCELLED && error.kind != ERROR_NOT_FOUND)
        log_warning("%s; who needs it tries again", error_message(&error));
}

void image_digest_later(Ramet *ramet, const char *digest) {
    char *copy;

    if (!base_id_source(digest))
        return;
    copy = calloc(1, IMAGE_ROW_DIGEST_SIZE);
    if (!copy)
        abort();
    (void)snprintf(copy, IMAGE_ROW_DIGEST_SIZE, "%s", digest);
    if (ramet_work(ramet, compute, copy) < 0)
        free(copy); /* the first who needs it computes it */
}

void image_digests_reconcile(Ramet *ramet) {
    ImageRow *rows = NULL;
    size_t count = 0;

    if (images_list(ramet->store, &rows, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        image_digest_later(ramet, rows[i].digest);
    image_rows_free(rows, count);
}
