/* SPDX-License-Identifier: Apache-2.0 */
#include "image/image_parts.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/base_file.h"

char *image_scratch_folder(const ImageContext *context) {
    return context->tmp ? str_copy(context->tmp) : path_join(context->home, "tmp");
}

void image_step_progress(void *data, uint64_t done_bytes, uint64_t total_bytes) {
    const ImageStep *step = data;
    image_context_progress(step->context, step->step, done_bytes, total_bytes);
}

static int check_size(const char *name, uint64_t wanted, uint64_t virtual_bytes, Error *error) {
    if (wanted == 0 || wanted >= virtual_bytes)
        return 0;
    _cleanup_free_ char *want = format_size(wanted), *has = format_size(virtual_bytes);
    int r = error_set(error, ERROR_USAGE, EINVAL,
                      "cannot make image %s smaller (it has %s, wanted %s)", name, has, want);
    error_set_hint(error, "disks only grow; leave the size out to keep it as it is");
    return r;
}

int image_fill_info(const ImageContext *context, const char *name, const char *base,
                    const KernelBundle *kernel, uint64_t size_bytes, ImageInfo *info,
                    Error *error) {
    _cleanup_free_ char *path = base_path(context->home, base);
    struct stat st;
    if (stat(path, &st) < 0)
        return error_set_errno(error, errno, "cannot find the base of image %s", name);
    uint64_t virtual_bytes = (uint64_t)st.st_size;
    int r = check_size(name, size_bytes, virtual_bytes, error);
    if (r < 0)
        return r;
    uint64_t minimum_bytes = MAX_OF(size_bytes, virtual_bytes);
    ImageInfo filled = {
        .name = str_copy(name),
        .path = TAKE_PTR(path),
        .virtual_bytes = virtual_bytes,
        .minimum_disk_bytes = minimum_bytes,
        .allocated_bytes = (uint64_t)st.st_blocks * 512,
        .kernel_version = kernel->version ? str_copy(kernel->version) : NULL,
        .created_at_usec = clock_realtime_usec(),
    };
    (void)snprintf(filled.digest, sizeof(filled.digest), "%s", base);
    memcpy(filled.kernel_key, kernel->key, sizeof(filled.kernel_key));
    *info = filled;
    return 0;
}
