/* SPDX-License-Identifier: Apache-2.0 */
#include "image/oci/oci_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/path.h"
#include "disk/tar_take.h"
#include "image/image_parts.h"

#define BLOBS "blobs/sha256/"

/* Names that it may have; no other leads into the folder. */
static bool is_part(const char *name) {
    uint8_t bytes[SHA256_SIZE];
    return str_equal(name, "index.json") ||
           (str_has_prefix(name, BLOBS) &&
            hex_decode(name + strlen(BLOBS), bytes, sizeof(bytes)) == 0);
}

static char *new_folder(const ImageContext *context) {
    _cleanup_free_ char *scratch = image_scratch_folder(context), *name = scratch_name("oci");
    return path_join(scratch, name);
}

int oci_file_unpack(const ImageContext *context, int fd, char **folder, Error *error) {
    _cleanup_(extract_source_free_p) ExtractSource *source = NULL;
    _cleanup_free_ char *made = new_folder(context), *blobs = path_join(made, BLOBS);
    int r = extract_source_new_as(fd, context->cancel_fd, EXTRACT_ONLY_TAR, &source, error);
    if (r < 0)
        return r;
    image_context_progress(context, "reading the archive", 0, 0);
    source_skip_hash(source);
    r = path_make_folders(blobs, 0700);
    if (r < 0)
        r = error_set_errno(error, -r, "cannot make %s", blobs);
    if (r >= 0)
        r = tar_take(source, made, is_part, context->cancel_fd, error);
    if (r < 0)
        (void)path_remove_tree(made);
    else
        *folder = TAKE_PTR(made);
    return r;
}

static int write_decoded(ExtractSource *source, int fd, Error *error) {
    uint8_t buffer[65536];
    ssize_t n;
    while ((n = extract_source_read(source, buffer, sizeof(buffer), error)) > 0) {
        int r = fd_write_full(fd, buffer, (size_t)n);
        if (r < 0)
            return error_set_errno(error, -r, "cannot write scratch");
    }
    return (int)n;
}

/* skopeo takes Docker's as it is alone. *plain: a file without a name; it stays -1 where the file
 * is not compressed. */
static int decode(const ImageContext *context, int fd, int *plain, Error *error) {
    _cleanup_(extract_source_free_p) ExtractSource *source = NULL;
    _cleanup_free_ char *scratch = image_scratch_folder(context);
    _cleanup_close_ int made = -1;
    int r = extract_source_new_as(fd, context->cancel_fd, EXTRACT_ONLY_TAR, &source, error);
    if (r < 0 || extract_source_compression(source) == EXTRACT_PLAIN)
        return r;
    made = open(scratch, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (made < 0)
        return error_set_errno(error, errno, "cannot make scratch");
    source_skip_hash(source);
    r = write_decoded(source, made, error);
    if (r >= 0)
        *plain = TAKE_FD(made);
    return r;
}

int oci_file_convert(const OciRegistry *registry, int fd, const char *image, const char *cache,
                     char **folder, Error *error) {
    _cleanup_free_ char *made = new_folder(registry->context);
    _cleanup_close_ int plain = -1;
    int r;
    image_context_progress(registry->context, "reading the archive", 0, 0);
    r = decode(registry->context, fd, &plain, error);
    if (r < 0)
        return r;
    r = oci_skopeo_convert(registry, plain >= 0 ? plain : fd, image, cache, made, error);
    if (r < 0)
        (void)path_remove_tree(made);
    else
        *folder = TAKE_PTR(made);
    return r;
}
