/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "cli/client.h"
#include "cli/image_args.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static char *below_variable(const char *variable, const char *rest) {
    const char *folder = getenv(variable);
    return folder && *folder ? path_join(folder, rest) : NULL;
}

/* Where podman and skopeo keep credentials (containers-auth.json(5)): the daemon has another
 * environment than the user. The first that is there; NULL: none. */
static char *find_authfile(void) {
    char *places[] = {str_copy(getenv("REGISTRY_AUTH_FILE")),
                      below_variable("XDG_RUNTIME_DIR", "containers/auth.json"),
                      str_format("/run/containers/%u/auth.json", (unsigned)geteuid()),
                      below_variable("XDG_CONFIG_HOME", "containers/auth.json"),
                      below_variable("HOME", ".config/containers/auth.json"),
                      below_variable("HOME", ".docker/config.json")};
    char *found = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        if (!found && places[i] && access(places[i], R_OK) == 0)
            found = places[i];
        else
            free(places[i]);
    }
    return found;
}

static int add_authfile(const Args *args, json_t *request, Error *error) {
    _cleanup_free_ char *found =
        args_text(args, "authfile") ? str_copy(args_text(args, "authfile")) : find_authfile();
    _cleanup_free_ char *absolute = NULL;
    int r = found ? image_args_path(found, &absolute, error) : 0;
    if (r >= 0 && absolute)
        json_object_set_new(request, "authfile", json_string(absolute));
    return r;
}

/* The daemon has another working folder. */
static int add_reference(const char *reference, json_t *request, Error *error) {
    const char *path = reference + strlen("oci:"), *tag = strrchr(path, ':');
    _cleanup_free_ char *folder = NULL, *absolute = NULL, *text = NULL;
    int r;
    if (!str_has_prefix(reference, "oci:") || *path == '/') {
        json_object_set_new(request, "reference", json_string(reference));
        return 0;
    }
    if (tag && strchr(tag, '/'))
        tag = NULL;
    folder = tag ? strndup(path, (size_t)(tag - path)) : str_copy(path);
    r = image_args_path(folder, &absolute, error);
    if (r < 0)
        return r;
    text = str_format("oci:%s%s", absolute, tag ? tag : "");
    json_object_set_new(request, "reference", json_string(text));
    return 0;
}

static int image_pull_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *image = NULL, *request = json_object();
    _cleanup_free_ char *name = NULL;
    int r = add_reference(args->operands[0], request, error);
    if (r >= 0)
        r = add_authfile(args, request, error);
    if (r >= 0)
        r = image_args_add(args, request, error);
    if (r < 0)
        return r;
    if (args_text(args, "name"))
        json_object_set_new(request, "name", json_string(args_text(args, "name")));
    if (args_text(args, "platform"))
        json_object_set_new(request, "platform", json_string(args_text(args, "platform")));
    json_object_set_new(request, "insecure", json_boolean(args_flag(args, "insecure")));
    json_object_set_new(request, "replace", json_boolean(args_flag(args, "replace")));
    r = client_call(API_IMAGE_PULL, NULL, NULL, request, &image, error);
    if (r < 0)
        return r;
    name = output_member(image, "name");
    return output_json_or_line(args, image, name, error);
}

static const VerbOption options[] = {
    {0, "name", ARG_NAME, .help = "name of the image; the last part of its path when absent"},
    {0, "platform", ARG_TEXT, "OS/ARCH[/VARIANT]", .help = "linux/amd64 when absent"},
    {0, "insecure", ARG_FLAG,
     .help = "a registry that speaks http, or whose certificate nobody vouches for"},
    {0, "authfile", ARG_FILE, .help = "credentials; those of podman and skopeo when absent"},
    {0, "replace", ARG_FLAG, .help = "take the name from another image that has it"},
    IMAGE_OPTIONS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"REFERENCE", ARG_TEXT, "docker://[HOST[:PORT]/]PATH[:TAG][@sha256:HEX] or oci:FOLDER[:TAG]", 1,
     1},
    {.name = NULL},
};

const Verb verb_image_pull = {
    .name = "image pull",
    .summary = "pull an image of a container from a registry or a folder",
    .options = options,
    .operands = operands,
    .description =
        "Fetches an image of a container with skopeo, lays its layers over each other to a disk, "
        "and "
        "prints its name. Credentials and policy are those of podman and skopeo: auth.json, "
        "policy.json, registries.conf. What arrived once is not fetched again, and a pull that "
        "broke "
        "off goes on where it was. All digests are checked. The disk is sparse and has 2 GiB, or "
        "more for a large image.\n"
        "\n"
        "The image's entrypoint, command, variables, working folder, user and stop signal are "
        "kept, "
        "and ramet run goes by them. Pulling the same reference again lets the name stand for "
        "what the reference means now.",
    .examples = "ramet image pull docker://docker.io/library/nginx:1.27\n"
                "ramet image pull docker://localhost:5000/web --insecure --name web\n"
                "ramet image pull oci:/srv/images/web:latest",
    .flags = VERB_JSON,
    .run = image_pull_run,
};
