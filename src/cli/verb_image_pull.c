/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/image_args.h"
#include "cli/output.h"
#include "cli/registry_verbs.h"
#include "cli/verb_rows.h"

static int image_pull_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *image = NULL, *request = json_object();
    _cleanup_free_ char *name = NULL;
    int r = registry_add_reference(args, request, error);
    if (r >= 0)
        r = image_args_add(args, request, error);
    if (r < 0)
        return r;
    if (args_text(args, "platform"))
        json_object_set_new(request, "platform", json_string(args_text(args, "platform")));
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
    REGISTRY_OPTIONS,
    {0, "replace", ARG_FLAG, .help = "take the name from another image that has it"},
    IMAGE_OPTIONS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"REFERENCE", ARG_TEXT,
     "docker://[HOST[:PORT]/]PATH[:TAG][@sha256:HEX], oci:FOLDER[:TAG], oci-archive:FILE[:TAG] or "
     "docker-archive:FILE[:NAME[:TAG]]",
     1, 1},
    {.name = NULL},
};

const Verb verb_image_pull = {
    .name = "image pull",
    .summary = "pull an image from a registry, a folder or an archive",
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
        "docker-archive: takes what docker save and podman save write, oci-archive: what podman "
        "save --format oci-archive and skopeo do.\n"
        "\n"
        "The image's entrypoint, command, variables, working folder, user and stop signal are "
        "kept, "
        "and ramet run goes by them. Pulling the same reference again lets the name stand for "
        "what the reference means now.\n"
        "\n"
        "What ramet image push put into a registry is told apart and pulled as well, as the image "
        "of a VM that it is: of that, too, only what is not here is fetched. --platform, --size, "
        "--kernel and --modules are not for it.",
    .examples = "ramet image pull docker://docker.io/library/nginx:1.27\n"
                "ramet image pull docker://localhost:5000/web --insecure --name web\n"
                "ramet image pull oci:/srv/images/web:latest\n"
                "docker save web -o web.tar && ramet image pull docker-archive:web.tar\n"
                "ramet image pull docker://registry.example.org/team/prepared:1",
    .flags = VERB_JSON,
    .run = image_pull_run,
};
