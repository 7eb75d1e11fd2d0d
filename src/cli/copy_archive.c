/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/copy_archive.h"

#include <string.h>

#include "agent/files/copy.h"
#include "proto/agent.h"

/* A result's text may end with its number's reason already, as an error's always does. */
static int to_error(Result *result, Error *error) {
    const char *reason = strerror(result->error);
    size_t length = strlen(result->text), size = strlen(reason) + 2;
    if (result->error == 0)
        return 0;
    if (length > size && strcmp(result->text + length - size + 2, reason) == 0)
        result->text[length - size] = '\0';
    return error_set_errno(error, result->error, "%s", result->text);
}

int archive_create(const char *path, uint64_t flags, int out_fd, Error *error) {
    CopyRequest request = {.path = path, .flags = flags};
    Result result = {0};
    copy_out_worker(&request, -1, out_fd, &result);
    return to_error(&result, error);
}

int archive_extract(int in_fd, const char *path, uint64_t flags, Error *error) {
    CopyRequest request = {.path = path, .flags = flags | COPY_NO_SET_ID};
    Result result = {0};
    copy_in_worker(&request, in_fd, -1, &result);
    return to_error(&result, error);
}
