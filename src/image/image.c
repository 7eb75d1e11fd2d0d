/* SPDX-License-Identifier: Apache-2.0 */
#include "image/image.h"

#include "base/str.h"

static const char *const init_names[] = {
    [IMAGE_INIT_UNKNOWN] = "unknown",
    [IMAGE_INIT_AGENT] = "agent",
    [IMAGE_INIT_SYSTEMD] = "systemd",
};

const char *image_init_name(ImageInit init) {
    return (size_t)init < ARRAY_SIZE(init_names) ? init_names[init] : "unknown";
}

ImageInit image_init_from_name(const char *name) {
    for (size_t i = 0; i < ARRAY_SIZE(init_names); i++)
        if (str_equal(name, init_names[i]))
            return (ImageInit)i;
    return IMAGE_INIT_UNKNOWN;
}

void image_info_free(ImageInfo *info) {
    if (!info)
        return;
    free(info->name);
    free(info->path);
    free(info->kernel_version);
    free(info->source);
    json_decref(info->settings);
    *info = (ImageInfo){0};
}
