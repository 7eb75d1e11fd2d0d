/* SPDX-License-Identifier: Apache-2.0 */
#include "image/deferred.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "image/record.h"

bool image_digest_find(const char *home, const char *source_sha256, char sha256[SHA256_HEX_SIZE]) {
    ImageRecord record;
    if (image_record_read(home, source_sha256, &record) < 0 || !*record.digest)
        return false;
    memcpy(sha256, record.digest, SHA256_HEX_SIZE);
    return true;
}

int image_digest_compute(const ImageContext *context, const char *source_sha256,
                         char sha256[SHA256_HEX_SIZE], Error *error) {
    char id[BASE_ID_SIZE];
    base_id_from_source(source_sha256, id);
    _cleanup_free_ char *path = base_id_path(context->home, id);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    int r = sha256_file_unless(fd, context->cancel_fd, sha256, error);
    return r < 0 ? error_add_context(error, "cannot hash %s", path) : 0;
}

int image_digest_settle(const char *home, const char *source_sha256, const char *sha256,
                        Error *error) {
    int r = base_name_by_digest(home, source_sha256, sha256, error);
    if (r < 0)
        return r;
    ImageRecord record = {0};
    (void)snprintf(record.digest, sizeof(record.digest), "%s", sha256);
    (void)snprintf(record.source_sha256, sizeof(record.source_sha256), "%s", source_sha256);
    image_record_write(home, source_sha256, &record);
    return 0;
}
