/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/image_args.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/read_text_file.h"
#include "cli/recipe_file.h"
#include "cli/recipe_pack.h"
#include "cli/verb_rows.h"
#include "cli/yaml_tree.h"

/* --include a,b --include c → ["a","b","c"] */
static json_t *packages_of(const Args *args) {
    json_t *list = json_array();
    const char *text;
    for (size_t i = 0; (text = args_nth(args, "include", i)); i++)
        while (*text) {
            size_t n = strcspn(text, ",");
            if (n > 0)
                json_array_append_new(list, json_stringn(text, n));
            text += n + (text[n] == ',');
        }
    return list;
}

/* --seed DIR:PATH, DIR made absolute. */
static int add_seeds(const Args *args, json_t *request, Error *error) {
    json_t *list = json_array();
    const char *text;
    int r = 0;
    for (size_t i = 0; r == 0 && (text = args_nth(args, "seed", i)); i++) {
        const char *colon = NULL;
        for (const char *at = text; (at = strstr(at, ":/")); at++)
            colon = at;
        _cleanup_free_ char *folder = str_format("%.*s", colon ? (int)(colon - text) : 0, text);
        _cleanup_free_ char *absolute = NULL, *whole = NULL;
        r = image_args_path(folder, &absolute, error);
        if (r == 0) {
            whole = str_format("%s%s", absolute, colon);
            json_array_append_new(list, json_string(whole));
        }
    }
    if (json_array_size(list) > 0)
        json_object_set(request, "seeds", list);
    json_decref(list);
    return r;
}

static int build_known(const Args *args, json_t **image, Error *error) {
    _cleanup_json_ json_t *request = json_object();
    int r;
    json_object_set_new(request, "name", json_string(args->operands[0]));
    json_object_set_new(request, "from", json_string(args_text(args, "from")));
    json_object_set_new(request, "include", packages_of(args));
    json_object_set_new(request, "replace", json_boolean(args_flag(args, "replace")));
    r = image_args_add(args, request, error);
    if (r == 0)
        r = add_seeds(args, request, error);
    return r < 0 ? r : client_call(API_IMAGE_BUILD, NULL, NULL, request, image, error);
}

/* ---- a recipe of one's own ---- */

static int read_recipe(const char *file, json_t **recipe, Error *error) {
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    int r = read_text_file(file, YAML_TREE_BYTES_MAX, &text, &size, error);
    return r < 0 ? r : recipe_file_parse(file, text, size, recipe, error);
}

/* "bytes=…&name=…" */
static char *query_of(const Args *args, uint64_t json_bytes, const char *keep) {
    StrBuf query = {0};
    strbuf_add_format(&query, "name=%s&recipe_bytes=%llu", args->operands[0],
                      (unsigned long long)json_bytes);
    if (args_flag(args, "replace"))
        strbuf_add_text(&query, "&replace=1");
    if (keep)
        strbuf_add_format(&query, "&keep=%s", keep);
    return strbuf_steal(&query);
}

/* A shell in the VM in which a step failed, which goes with it. */
static void open_shell(const Args *args, const char *vm) {
    _cleanup_error_ Error error = ERROR_INIT;
    Command command = {.interactive = true, .tty = isatty(STDIN_FILENO)};
    const char *argv[COMMAND_SHELL_WORDS];
    _cleanup_json_ json_t *request = NULL;
    _cleanup_close_ int fd = -1;
    int r;
    command_shell("0", argv);
    request = command_request(args, (char *const *)argv, &command);
    r = client_upgrade(API_VM_EXEC, vm, request, &fd, &error);
    if (r >= 0)
        r = command_run(fd, &command, NULL, &error);
    if (r < 0)
        output_error(&error);
    error_clear(&error);
    if (client_call(API_VM_REMOVE, vm, "force=1", NULL, NULL, &error) < 0)
        output_error(&error);
}

static bool is_there(const char *vm) {
    _cleanup_json_ json_t *found = NULL;
    return client_call(API_VM_INSPECT, vm, NULL, NULL, &found, NULL) >= 0;
}

static int build_recipe(const Args *args, json_t **image, Error *error) {
    _cleanup_free_ char *random = random_hex(4), *keep = NULL, *query = NULL;
    _cleanup_json_ json_t *recipe = NULL;
    _cleanup_close_ int fd = -1;
    uint64_t json_bytes = 0;
    int r = read_recipe(args_text(args, "file"), &recipe, error);
    if (r >= 0)
        r = recipe_pack(recipe, &fd, &json_bytes, error);
    if (r < 0)
        return r;
    if (args_flag(args, "shell-on-failure"))
        keep = str_format("%.40s-failed-%s", args->operands[0], random);
    query = query_of(args, json_bytes, keep);
    r = client_upload(API_IMAGE_RECIPE, query, fd, image, error);
    if (r < 0 && keep && is_there(keep)) {
        output_error(error);
        output_note("a shell in the VM in which it failed; it is removed at the shell's end");
        open_shell(args, keep);
    }
    return r;
}

static int check_args(const Args *args, Error *error) {
    static const char *const known[] = {"include", "size", "kernel", "modules", "seed"};
    bool file = args_given(args, "file");
    if (file == args_given(args, "from"))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "image build: either --from RECIPE or --file FILE");
    for (size_t i = 0; file && i < ARRAY_SIZE(known); i++)
        if (args_given(args, known[i]))
            return error_set(error, ERROR_USAGE, EINVAL,
                             "image build: --%s is for --from; the file says it itself", known[i]);
    if (!file && args_flag(args, "shell-on-failure"))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "image build: --shell-on-failure is for --file");
    return 0;
}

static int image_build_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *image = NULL;
    int r = check_args(args, error);
    if (args_flag(args, "quiet"))
        progress_be_quiet();
    if (r >= 0)
        r = args_given(args, "file") ? build_recipe(args, &image, error)
                                     : build_known(args, &image, error);
    return r < 0 ? r : output_json_or_line(args, image, args->operands[0], error);
}

static const VerbOption options[] = {
    {0, "from", ARG_RECIPE, .help = "a known recipe: busybox, debian, or debian:SUITE"},
    {'f', "file", ARG_FILE, .help = "a recipe of your own, in YAML"},
    {0, "shell-on-failure", ARG_FLAG, .help = "open a shell in the VM in which a step failed"},
    {'q', "quiet", ARG_FLAG, .help = "show neither steps nor what they print"},
    {0, "include", ARG_TEXT, "PKG,...", .many = true, .help = "more Debian packages"},
    {0, "seed", ARG_SEED_PLACE, "DIR:PATH", .many = true,
     .help = "each VM of the image has a disk of its own at PATH, over DIR's content"},
    {0, "replace", ARG_FLAG, .help = "take the name from another image that has it"},
    IMAGE_OPTIONS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"NAME", ARG_NAME, "name of the image", 1, 1},
    {.name = NULL},
};

const Verb verb_image_build = {
    .name = "image build",
    .summary = "build an image from a recipe",
    .options = options,
    .operands = operands,
    .description =
        "Builds an image and prints its name. busybox is Debian's busybox-static with "
        "its cloud kernel, made in seconds; debian is a Debian with systemd, made by "
        "mmdebstrap. A folder of --seed becomes a frozen disk (see ramet-seed-create(1)), "
        "and run mounts one over it in each VM; when it cannot be read, there is no image. "
        "With --replace the name may stand for another image already: VMs "
        "and snapshots of that one keep what they stand on, and it goes with the last "
        "of them.\n"
        "\n"
        "With --file the steps of a recipe are done in VMs, each of them a fork of the step before "
        "it. A step is kept by what went into it, so a recipe whose last step was changed is built "
        "in the time of that step. What steps print is shown as it comes. What is wrong is told "
        "with file, line and step, and with what "
        "the guest printed last.\n"
        "\n"
        "  base: debian               # any image; the only key that has to be there\n"
        "  memory: 512M               # also cpus, disk\n"
        "  env: {LANG: C.UTF-8}\n"
        "  network: user              # or none: what steps run with, unless they say otherwise\n"
        "  timeout: 600               # seconds, of each step\n"
        "  seed: home:/root           # as --seed has it: a folder below the recipe's; or a list\n"
        "  steps:\n"
        "    - packages: [nginx]      # by apt-get, apk or dnf of the guest\n"
        "    - copy: site             # below the recipe's folder\n"
        "      to: /var/www/\n"
        "    - run: nginx -t          # a line for the guest's shell\n"
        "      network: none\n"
        "  user: www-data             # also directory, ports, command\n"
        "  entrypoint: [nginx, -g, daemon off;]\n"
        "  snapshot-after: curl -sf localhost   # VMs of the image start with the program running\n"
        "\n"
        "The image's name moves on when the recipe is built again.",
    .examples = "ramet image build busybox --from busybox\n"
                "ramet image build web --from debian:bookworm --include nginx,curl\n"
                "ramet image build web -f web.yaml\n"
                "ramet image build web -f web.yaml --shell-on-failure",
    .flags = VERB_JSON,
    .run = image_build_run,
};
