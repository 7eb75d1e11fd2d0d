/* SPDX-License-Identifier: Apache-2.0 */

#include "image/image_adopt.h"

#include <errno.h>
#include <unistd.h>

#include "base/path.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "image/firmware.h"
#include "image/image_parts.h"

#define DEFAULT_MEMORY_BYTES (512 * MIB)

static int check_digest(const char *wanted, const char *found, Error *error) {
    if (!wanted || str_equal(wanted, found))
        return 0;
    return error_set(error, ERROR_CORRUPT, EBADMSG,
                     "its disk is not what it was: the digest is %.22s…, not %.22s…", found,
                     wanted);
}

static int write_base(const ImageContext *context, const ImageAdoptRequest *request,
                      Publish *publish, char id[BASE_ID_SIZE], Error *error) {
    int fd = publish_scratch_fd(publish);
    int r = request->write(request->data, fd, publish_scratch_path(publish), error);
    if (r >= 0 && request->checked)
        (void)snprintf(id, BASE_ID_SIZE, "%s", request->digest);
    else if (r >= 0)
        r = base_digest(fd, context->cancel_fd, id, error);
    if (r >= 0)
        r = check_digest(request->digest, id, error);
    if (r >= 0)
        r = base_check_whole(fd, error);
    return r < 0 ? r : base_publish(publish, id, error);
}

/* Under a lock that nobody else can know of, which goes again: the name follows from the content.
 */
static int make_base(const ImageContext *context, const ImageAdoptRequest *request,
                     char id[BASE_ID_SIZE], Error *error) {
    _cleanup_free_ char *name = scratch_name("adopt");
    _cleanup_free_ char *lock = str_format("%s/locks/images-%s.lock", context->home, name);
    PublishOptions options = image_publish_options(context, "images", name);
    Publish *publish = NULL;
    bool exists = false;
    int r = publish_begin(&options, &publish, &exists, error);
    if (r >= 0)
        r = write_base(context, request, publish, id, error);
    publish_free(publish);
    (void)unlink(lock);
    return r;
}

static bool has_base(const ImageContext *context, const char *digest) {
    _cleanup_free_ char *path = digest ? base_path(context->home, digest) : NULL;
    return path && access(path, R_OK) == 0;
}

static int open_kernel(const ImageContext *context, const char *key, KernelBundle *kernel,
                       Error *error) {
    if (!firmware_is(key))
        return kernel_bundle_open(context->home, key, kernel, error);
    str_set(kernel->key, key);
    return 0;
}

int image_adopt(const ImageContext *context, const ImageAdoptRequest *request, ImageInfo *info,
                Error *error) {
    _cleanup_kernel_bundle_ KernelBundle kernel = {0};
    bool reused = has_base(context, request->digest);
    char id[BASE_ID_SIZE];
    ImageInfo filled;
    int r = name_check("image", request->name, error);
    if (r < 0)
        return r;
    if (reused)
        str_set(id, request->digest);
    else
        r = make_base(context, request, id, error);
    if (r >= 0) /* it may have come with the disk */
        r = open_kernel(context, request->kernel_key, &kernel, error);
    if (r >= 0)
        r = image_fill_info(context, request->name, id, &kernel, request->minimum_disk_bytes,
                            &filled, error);
    if (r < 0)
        return r;
    filled.default_memory_bytes =
        request->default_memory_bytes ? request->default_memory_bytes : DEFAULT_MEMORY_BYTES;
    filled.default_cpus = request->default_cpus;
    filled.init = request->init;
    str_set(filled.step, str_or_empty(request->step));
    filled.settings = json_incref(request->settings);
    filled.source = str_copy(request->source);
    filled.reused = reused;
    *info = filled;
    return 0;
}
