/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "cli/client.h"
#include "cli/lab_file.h"
#include "cli/output.h"
#include "cli/read_text_file.h"
#include "cli/verb_rows.h"
#include "cli/yaml_tree.h"

/* "labs/three.yaml" → "three". */
static char *name_of(const char *file) {
    const char *last = strrchr(file, '/'), *base = last ? last + 1 : file;
    size_t length = strlen(base);
    if (str_has_suffix(base, ".yaml"))
        length -= strlen(".yaml");
    else if (str_has_suffix(base, ".yml"))
        length -= strlen(".yml");
    return str_format("%.*s", (int)length, base);
}

static int choose_name(const Args *args, char **name, Error *error) {
    const char *given = args_text(args, "name");
    _cleanup_free_ char *made = given ? str_copy(given) : name_of(args->operands[0]);
    if (!name_is_valid(made)) {
        error_set(error, ERROR_USAGE, EINVAL, "lab up: %s gives the lab no name",
                  str_equal(args->operands[0], "-") ? "standard input" : args->operands[0]);
        error_set_hint(error, "choose one with --name");
        return -EINVAL;
    }
    *name = TAKE_PTR(made);
    return 0;
}

static int read_request(const Args *args, json_t **request, Error *error) {
    const char *file = args->operands[0];
    _cleanup_free_ char *name = NULL, *text = NULL;
    size_t size = 0;
    int r = read_text_file(file, YAML_TREE_BYTES_MAX, &text, &size, error);
    if (r >= 0)
        r = lab_file_parse(str_equal(file, "-") ? "standard input" : file, text, size, request,
                           error);
    if (r >= 0)
        r = choose_name(args, &name, error);
    if (r >= 0)
        json_object_set_new(*request, "name", json_string(name));
    return r;
}

static int lab_up_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *request = NULL, *lab = NULL;
    _cleanup_free_ char *name = NULL;
    int r = read_request(args, &request, error);
    if (r >= 0)
        r = client_call(API_LAB_UP, NULL, NULL, request, &lab, error);
    if (r < 0)
        return r;
    name = output_member(lab, "name");
    return output_json_or_line(args, lab, name, error);
}

static const VerbOption options[] = {
    {0, "name", ARG_NAME, .help = "name of the lab; that of FILE without .yaml when absent"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"FILE", ARG_FILE_OR_STDIN, "description of the lab, in YAML, or -", 1, 1},
    {.name = NULL},
};

const Verb verb_lab_up = {
    .name = "lab up",
    .summary = "make the VMs and networks of a file, and wait until all are ready",
    .options = options,
    .operands = operands,
    .description =
        "Makes all networks and VMs that FILE describes, and starts the VMs at once. It prints "
        "the lab's name when each of them is ready and its `ready:` command has succeeded. All or "
        "nothing: when a VM does not start, its `ready:` does not succeed in time, or the command "
        "is interrupted, what was made is removed, and the message says which VM it was, at which "
        "step, and what `ready:` said last.\n"
        "\n"
        "A VM is called LAB/VM, a network LAB/NETWORK, wherever VMs and networks have names. Its "
        "host name and its name on its networks are what the file calls it. The networks of "
        "different labs may have the same addresses; no frame of one gets into another.\n"
        "\n"
        "  networks:                  # without it: one, called default\n"
        "    lan: {subnet: 10.1.0.0/24, isolated: false, uplink: true}\n"
        "    dmz:\n"
        "  vms:\n"
        "    web:\n"
        "      image: busybox         # the only key that has to be there\n"
        "      memory: 256M\n"
        "      cpus: 1\n"
        "      disk: 2G\n"
        "      hostname: www\n"
        "      networks: [lan, \"dmz,ip=10.77.0.9\"]  # eth0, eth1; also user and none\n"
        "      router: false          # true: it passes on what others send\n"
        "      ports: [\"8080:80\"]\n"
        "      env: {MODE: test}\n"
        "      labels: {role: web}\n"
        "      run: httpd -f -h /www  # in the background, once all VMs run; see lab logs\n"
        "      ready: wget -qO- http://localhost/\n"
        "      ready_timeout: 120     # seconds\n"
        "\n"
        "What is wrong with the file is told with its line.",
    .examples = "ramet lab up three.yaml\nramet lab up --name test1 three.yaml",
    .flags = VERB_JSON,
    .run = lab_up_run,
};
