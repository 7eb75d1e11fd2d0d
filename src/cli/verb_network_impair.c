/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

/* A number with a fraction, in steps of 1/scale, from 0 to max. */
static int add_scaled(const Args *args, const char *option, double scale, double max,
                      const char *member, json_t *request, Error *error) {
    const char *text = args_text(args, option);
    char *end = NULL;
    double value = text ? strtod(text, &end) : 0;
    if (!text)
        return 0;
    if (end == text || *end || !(value >= 0) || value > max)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "network impair: --%s: \"%.40s\" is no number from 0 to %.0f", option,
                         text, max);
    json_object_set_new(request, member, json_integer((json_int_t)(value * scale + 0.5)));
    return 0;
}

static int make_request(const Args *args, json_t *request, Error *error) {
    int r = add_scaled(args, "latency", 1000, 60000, "latency_us", request, error);
    if (r >= 0)
        r = add_scaled(args, "jitter", 1000, 60000, "jitter_us", request, error);
    if (r >= 0)
        r = add_scaled(args, "loss", 10000, 100, "loss_ppm", request, error);
    if (args_given(args, "rate"))
        json_object_set_new(request, "rate_bits",
                            json_integer((json_int_t)args_number(args, "rate", 0)));
    if (args_flag(args, "cut"))
        json_object_set_new(request, "cut", json_true());
    return r;
}

static int network_impair_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *request = json_object(), *answer = NULL;
    int r = make_request(args, request, error);
    if (r >= 0)
        r = client_call(API_NETWORK_IMPAIR, args->operands[0], NULL, request, &answer, error);
    return r < 0 ? r : output_json_or_line(args, answer, args->operands[0], error);
}

static const VerbOption options[] = {
    {0, "latency", ARG_TEXT, "MS", .help = "each frame is late by so many milliseconds"},
    {0, "jitter", ARG_TEXT, "MS", .help = "and by up to so many more or less"},
    {0, "loss", ARG_TEXT, "PERCENT", .help = "so many of a hundred frames are lost"},
    {0, "rate", ARG_NUMBER, "BITS", .min = 1000, .max = 1000000000000,
     .help = "no more than so many bits a second"},
    {0, "cut", ARG_FLAG, .help = "no frame passes"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"TARGET", ARG_TEXT, "name of a network, or name or id of a VM", 1, 1},
    {.name = NULL},
};

const Verb verb_network_impair = {
    .name = "network impair",
    .summary = "make a network worse, or a VM's place in it",
    .options = options,
    .operands = operands,
    .description =
        "Makes a network worse from now on, also for VMs that join it later, or a VM's place in "
        "its networks. The options say all that is wrong; without any nothing is, any more. A "
        "network's frames are late once, between two VMs and on their way out; those of a VM "
        "both when they come from it and when they go to it. A network of that name is taken "
        "before a VM. A network over a bridge needs the kernel's netem for latency and jitter "
        "(`ramet doctor` tells).",
    .examples = "ramet network impair lan --latency 40 --jitter 5 --loss 0.1\n"
                "ramet network impair db1 --cut\n"
                "ramet network impair lan",
    .flags = VERB_JSON,
    .run = network_impair_run,
};
