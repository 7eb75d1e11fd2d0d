/* SPDX-License-Identifier: Apache-2.0 */
#include "catalog/own_kernel.h"

#include "base/json.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "home/inside.h"
#include "home/memo.h"
#include "image/direct/disk_kernel.h"
#include "image/firmware.h"

/* A base never changes, and to take a kernel out of it takes a second: the last answer is kept. */
static Memo kernel_memo = MEMO_INIT;

static bool recall(const Home *home, const char *path, KernelBundle *bundle) {
    char key[MEMO_ANSWER_SIZE];
    return memo_recall(&kernel_memo, path, key) &&
           kernel_bundle_open(home->path, key, bundle, NULL) >= 0;
}

static void tell_progress(void *data, const char *step, uint64_t done, uint64_t total) {
    operation_progress(data, step, done, total);
}

int image_row_use_own_kernel(Home *home, Operation *operation, ImageRow *image, Error *error) {
    const ImageContext context = {.home = home->path,
                                  .progress = tell_progress,
                                  .progress_data = operation,
                                  .cancel_fd = operation->cancel_fd};
    _cleanup_free_ char *path = base_path(home->path, image->digest);
    _cleanup_kernel_bundle_ KernelBundle bundle = {0};
    const char *key = json_string_value(json_object_get(image->detail, "kernel_key"));
    if (!firmware_is(str_or_empty(key)))
        return 0;
    if (!recall(home, path, &bundle)) {
        int r = disk_kernel_ensure(&context, path, &bundle, error);
        if (r < 0)
            return error_add_context(error, "image %s", image->name);
        memo_remember(&kernel_memo, path, bundle.key);
    }
    (void)json_object_set_new(image->detail, "kernel_key", json_string(bundle.key));
    return 0;
}
