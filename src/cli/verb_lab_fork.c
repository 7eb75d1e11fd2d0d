/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static json_t *make_request(const Args *args) {
    json_t *request = json_pack("{s:s, s:I}", "source", args->operands[0], "count",
                                (json_int_t)args_number(args, "count", 1));
    if (args_text(args, "name"))
        json_object_set_new(request, "name", json_string(args_text(args, "name")));
    if (args_flag(args, "clone-volumes"))
        json_object_set_new(request, "clone_volumes", json_true());
    return request;
}

/* Copies that did not come. */
static int tell_errors(const json_t *answer) {
    const json_t *errors = json_object_get(answer, "errors"), *item;
    size_t i;
    json_array_foreach(errors, i, item) {
        const char *message =
            json_string_value(json_object_get(json_object_get(item, "error"), "message"));
        output_note("%s: %s", json_string_value(json_object_get(item, "name")),
                    message ? message : "it did not come");
    }
    return json_array_size(errors) > 0 ? 1 : 0;
}

/* One copy that nobody counted is a lab, several are a list. */
static int print_labs(const Args *args, const json_t *labs, Error *error) {
    const json_t *lab;
    size_t i;
    int r = 0;
    if (args->json)
        return output_json(args_given(args, "count") ? labs : json_array_get(labs, 0), error);
    json_array_foreach(labs, i, lab) {
        if (r >= 0)
            r = output_line(json_string_value(json_object_get(lab, "name")), error);
    }
    return r;
}

static int lab_fork_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *request = make_request(args), *answer = NULL;
    int status, r = client_call(API_LAB_FORK, NULL, NULL, request, &answer, error);
    if (r < 0)
        return r;
    status = tell_errors(answer);
    r = print_labs(args, json_object_get(answer, "labs"), error);
    return r < 0 ? r : status;
}

static const VerbOption options[] = {
    {0, "name", ARG_NAME, .help = "name of the copy; NAME-1 ... NAME-n for several"},
    {0, "clone-volumes", ARG_FLAG,
     .help = "of volumes that VMs of a lab that runs write to each copy has one, as they are then"},
    {'n', "count", ARG_NUMBER, .min = 1, .max = 64, .help = "how many copies (default 1)"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"SOURCE", ARG_LAB_SOURCE, "name or id of a lab's snapshot, or of a lab that runs", 1, 1},
    {.name = NULL},
};

const Verb verb_lab_fork = {
    .name = "lab fork",
    .summary = "make copies of a whole lab",
    .options = options,
    .operands = operands,
    .description =
        "Makes copies of a lab as a snapshot of it has frozen it, or of a lab that runs, and "
        "prints their names: SOURCE-1 and so on, as far as these are free, or as --name says. A "
        "copy's VMs are called COPY/VM and its networks COPY/NETWORK. Within it all is as in the "
        "source: host names, addresses, MAC addresses, machine ids, host keys, and connections "
        "between its VMs go on. Random numbers, boot_id and the time are its own.\n"
        "\n"
        "Each copy has networks of its own, and no frame leaves them but through their uplink. "
        "Connections to the outside from before are reset. Host ports lead to the source only.\n"
        "\n"
        "With a pool of the snapshot (pool set) copies wait ready, and are claimed.\n"
        "\n"
        "A copy comes as a whole or not at all. When some of several do not come, the others stay, "
        "and the exit status is 1.",
    .examples = "ramet lab fork ready\n"
                "ramet lab fork ready -n 4 --name try\n"
                "ramet lab fork three",
    .flags = VERB_JSON,
    .run = lab_fork_run,
};
