/* SPDX-License-Identifier: Apache-2.0 */
/* A file is named to the daemon by its path when the daemon can be expected to read it, and sent as
 * the body of the request else (standard input, a pipe). */

#include "cli/import_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/image_args.h"
#include "cli/output.h"

/* The request's members as a query, for an upload. */
static char *query_of(const json_t *request) {
    StrBuf query = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)request, key, value) {
        _cleanup_free_ char *text =
            json_is_true(value) ? str_copy("1") : output_member(request, key);
        _cleanup_free_ char *encoded = http_encode(text);
        strbuf_add_format(&query, "%s%s=%s", query.size ? "&" : "", key, encoded);
    }
    return strbuf_steal(&query);
}

static int upload(ApiId id, const json_t *request, int fd, json_t **image, Error *error) {
    _cleanup_free_ char *query = query_of(request);
    if (isatty(fd))
        return error_set(error, ERROR_USAGE, EINVAL, "this is a terminal, not a file");
    return client_upload(id, query, fd, image, error);
}

static int import_path(ApiId id, const char *file, json_t *request, json_t **image, Error *error) {
    _cleanup_free_ char *absolute = NULL;
    int r = image_args_path(file, &absolute, error);
    if (r < 0)
        return r;
    json_object_set_new(request, "path", json_string(absolute));
    return client_call(id, NULL, NULL, request, image, error);
}

static int cannot_read(const char *file, Error *error) {
    int r = error_set_errno(error, errno, "cannot read %s", file);
    if (strstr(file, "://"))
        error_set_hint(error, "it is an address, and no file; fetch it first: curl -LO %s", file);
    return r;
}

/* A pipe (as of `<(…)`, or /dev/stdin) is ours alone: only we can read it. */
int import_file(ApiId id, const char *file, json_t *request, json_t **image, Error *error) {
    _cleanup_close_ int fd = -1;
    struct stat st;
    if (str_equal(file, "-"))
        return upload(id, request, STDIN_FILENO, image, error);
    if (stat(file, &st) < 0)
        return cannot_read(file, error);
    if (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode) && !S_ISCHR(st.st_mode))
        return import_path(id, file, request, image, error);
    fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? error_set_errno(error, errno, "cannot read %s", file)
                  : upload(id, request, fd, image, error);
}
