/* SPDX-License-Identifier: Apache-2.0 */
/* A file is named to the daemon by its path when the daemon can be expected to read it, and sent as
 * the body of the request else (standard input, a pipe). */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/image_args.h"
#include "cli/output.h"
#include "cli/verbs.h"

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
    return strbuf_take(&query);
}

static int upload(const json_t *request, json_t **image, Error *error) {
    _cleanup_free_ char *query = query_of(request);

    if (isatty(STDIN_FILENO))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "image import: standard input is a terminal, not an image");
    return client_upload(API_IMAGE_IMPORT, query, STDIN_FILENO, image, error);
}

static int import_path(const char *file, json_t *request, json_t **image, Error *error) {
    _cleanup_free_ char *absolute = NULL;
    int r = image_args_path(file, &absolute, error);

    if (r < 0)
        return r;
    json_object_set_new(request, "path", json_string(absolute));
    return client_call(API_IMAGE_IMPORT, NULL, NULL, request, image, error);
}

static int image_import_run(const Args *args, Error *error) {
    const char *file = args->operands[0], *name = args_text(args, "name");
    _cleanup_json_ json_t *image = NULL, *request = json_pack("{s:s}", "name", name);
    int r = image_args_add(args, request, error);

    if (args_text(args, "sha256"))
        json_object_set_new(request, "sha256", json_string(args_text(args, "sha256")));
    if (args_text(args, "format"))
        json_object_set_new(request, "format", json_string(args_text(args, "format")));
    if (!args->json) /* who reads the answer wants the digest in it */
        json_object_set_new(request, "defer_digest", json_true());
    if (r == 0)
        r = strcmp(file, "-") == 0 ? upload(request, &image, error)
                                   : import_path(file, request, &image, error);
    return r < 0 ? r : output_json_or_line(args, image, name, error);
}

static const VerbOption options[] = {
    {0, "name", ARG_NAME, .required = true, .help = "name of the image"},
    {0, "sha256", ARG_TEXT, "HEX", .help = "the digest that the file must have"},
    {0, "format", ARG_TEXT, .help = "what the file is; found out when absent"},
    IMAGE_OPTIONS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"FILE", ARG_FILE_OR_STDIN, "disk image or root file system; - for standard input", 1, 1},
    {.name = NULL},
};

const Verb verb_image_import = {
    .name = "image import",
    .summary = "import an image from a file",
    .options = options,
    .operands = operands,
    .description =
        "Imports a raw or qcow2 disk, one compressed with zstd, xz or gzip, a .tar.zst that holds "
        "disk.img, or a tar of a root file system, which becomes an ext4 disk. Prints its name. "
        "The extraction writes holes for zeroes; with --sha256 a file with another digest is "
        "refused and nothing stays. The digest of a disk that comes compressed with zstd may still "
        "be computed when this returns; starts and image inspect wait for it, as does this with "
        "--json.",
    .examples = "ramet image import disk.img.zst --name web\n"
                "curl -sL https://example.org/disk.img.xz | ramet image import - --name web",
    .flags = VERB_JSON,
    .run = image_import_run,
};
