/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static json_t *make_request(const Args *args) {
    json_t *request = json_pack(
        "{s:s, s:b, s:b, s:b}", "name", args->operands[0], "isolated", args_flag(args, "isolated"),
        "no_uplink", args_flag(args, "no-uplink"), "allow_host", args_flag(args, "allow-host"));
    if (args_text(args, "subnet"))
        json_object_set_new(request, "subnet", json_string(args_text(args, "subnet")));
    if (args_text(args, "backend"))
        json_object_set_new(request, "backend", json_string(args_text(args, "backend")));
    if (args_given(args, "taps"))
        json_object_set_new(request, "taps",
                            json_integer((json_int_t)args_number(args, "taps", 0)));
    return request;
}

static int network_create_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *request = make_request(args), *network = NULL;
    int r = client_call(API_NETWORK_CREATE, NULL, NULL, request, &network, error);
    return r < 0 ? r : output_json_or_line(args, network, args->operands[0], error);
}

static const VerbOption options[] = {
    {0, "subnet", ARG_TEXT, "CIDR",
     .help = "its IPv4 addresses, such as 10.1.0.0/24; a free block of 10.77.0.0/16 when absent"},
    {0, "isolated", ARG_FLAG, .help = "its VMs do not reach each other"},
    {0, "no-uplink", ARG_FLAG, .help = "they reach nothing outside of the network"},
    {0, "allow-host", ARG_FLAG,
     .help = "they reach this host's own addresses, loopback and link-local ones included"},
    {0, "backend", ARG_CHOICE, .choices = "auto|switch|bridge",
     .help = "what forwards its frames: ramet-switch, or a bridge of the host, for root; auto: a "
             "bridge where `ramet doctor` says so"},
    {0, "taps", ARG_NUMBER, .max = 1024, .help = "TAP devices to be made ahead, for a bridge"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"NAME", ARG_NAME, "name of the network", 1, 1},
    {.name = NULL},
};

const Verb verb_network_create = {
    .name = "network create",
    .aliases = "network add",
    .summary = "make a network that VMs can be in together",
    .options = options,
    .operands = operands,
    .description =
        "Makes a network. VMs join it with --network NAME, and then have an address in it for as "
        "long as they are there, in standby, too: one that is free, or what --network "
        "NAME,ip=ADDRESS,mac=MAC asks for.\n"
        "\n"
        "Its subnet must be nobody else's: a route of this host or another network that has any "
        "of its addresses is a conflict. Beside IPv4 it gets a unique local IPv6 subnet.",
    .examples = "ramet network create lan\n"
                "ramet network create lab --subnet 10.1.0.0/24 --no-uplink\n"
                "ramet run -d --network lan --network lab,ip=10.1.0.10 busybox",
    .flags = VERB_JSON,
    .run = network_create_run,
};
