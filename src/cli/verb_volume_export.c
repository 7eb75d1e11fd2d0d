/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

/* A raw file that is called .qcow2 would be taken for a damaged one. */
static const char *choose_format(const Args *args, const char *file) {
    const char *asked = args_text(args, "format");
    return asked ? asked : str_has_suffix(file, ".qcow2") ? "qcow2" : "raw";
}

static int volume_export_run(const Args *args, Error *error) {
    const char *file = args->operands[1];
    _cleanup_json_ json_t *request = json_object(), *answer = NULL;
    _cleanup_free_ char *path = NULL;
    char folder[PATH_MAX];
    int r;
    if (str_equal(file, "-"))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "volume export: a volume goes into a file, which keeps its holes, and "
                         "not to standard output");
    if (file[0] != '/' && !getcwd(folder, sizeof(folder)))
        return error_set_errno(error, errno, "cannot tell the working folder");
    path = file[0] == '/' ? str_copy(file) : str_format("%s/%s", folder, file);
    json_object_set_new(request, "path", json_string(path));
    json_object_set_new(request, "format", json_string(choose_format(args, file)));
    r = client_call(API_VOLUME_EXPORT, args->operands[0], NULL, request, &answer, error);
    if (r < 0)
        return r;
    json_decref(answer);
    answer = json_pack("{s:s}", "path", path);
    return output_json_or_line(args, answer, path, error);
}

static const VerbOption options[] = {
    {0, "format", ARG_CHOICE, .choices = "raw|qcow2",
     .help = "of the file; when absent qcow2 if FILE ends in .qcow2, else raw"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VOLUME", ARG_VOLUME, "name or id of a volume", 1, 1},
    {"FILE", ARG_FILE, "the new file", 1, 1},
    {.name = NULL},
};

const Verb verb_volume_export = {
    .name = "volume export",
    .summary = "copy what is on a volume into a file",
    .options = options,
    .operands = operands,
    .description =
        "Copies the volume into a new file, raw with holes where nothing is, or qcow2, and "
        "prints its path. One that a VM writes to is refused.",
    .examples = "ramet volume export data data.qcow2",
    .flags = VERB_JSON,
    .run = volume_export_run,
};
