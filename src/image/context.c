/* SPDX-License-Identifier: Apache-2.0 */
#include "image/context.h"

#include <errno.h>
#include <poll.h>

void image_context_progress(const ImageContext *context, const char *step, uint64_t done,
                            uint64_t total) {
    if (context->progress)
        context->progress(context->progress_data, step, done, total);
}

PublishOptions image_publish_options(const ImageContext *context, const char *kind,
                                     const char *name) {
    return (PublishOptions){
        .home = context->home, .kind = kind, .name = name, .cancel_fd = context->cancel_fd};
}

int image_context_check(const ImageContext *context, Error *error) {
    if (context->cancel_fd < 0)
        return 0;
    struct pollfd poll_fd = {.fd = context->cancel_fd, .events = POLLIN};
    if (poll(&poll_fd, 1, 0) > 0)
        return error_set(error, ERROR_CANCELLED, ECANCELED, "the caller stopped waiting");
    return 0;
}
