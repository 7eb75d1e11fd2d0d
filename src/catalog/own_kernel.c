/* SPDX-License-Identifier: Apache-2.0 */
#include "catalog/own_kernel.h"

#include <pthread.h>
#include <stdio.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "home/inside.h"
#include "image/direct/disk_kernel.h"
#include "image/firmware.h"

/* A base never changes, and to take a kernel out of it takes a second: the last answer is kept. */
static pthread_mutex_t memo_mutex = PTHREAD_MUTEX_INITIALIZER;
static char memo_of[512];
static char memo_key[SHA256_HEX_SIZE];

static bool recall(const Home *home, const char *of, KernelBundle *bundle) {
    char key[SHA256_HEX_SIZE] = "";
    (void)pthread_mutex_lock(&memo_mutex);
    if (str_equal(memo_of, of))
        str_set(key, memo_key);
    (void)pthread_mutex_unlock(&memo_mutex);
    return *key && kernel_bundle_open(home->path, key, bundle, NULL) >= 0;
}

static void remember(const char *of, const char *key) {
    (void)pthread_mutex_lock(&memo_mutex);
    (void)snprintf(memo_of, sizeof(memo_of), "%s", of);
    (void)snprintf(memo_key, sizeof(memo_key), "%s", key);
    (void)pthread_mutex_unlock(&memo_mutex);
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
        remember(path, bundle.key);
    }
    (void)json_object_set_new(image->detail, "kernel_key", json_string(bundle.key));
    return 0;
}
