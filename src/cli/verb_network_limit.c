/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static int network_limit_run(const Args *args, Error *error) {
    const char *limits = args->n_operands > 1 ? args->operands[1] : "";
    _cleanup_json_ json_t *request = json_pack("{s:s}", "net_limit", limits), *vm = NULL;
    int r = client_call(API_VM_LIMIT, args->operands[0], NULL, request, &vm, error);
    return r < 0 ? r : output_json_or_line(args, vm, args->operands[0], error);
}

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, 1},
    {"LIMITS", ARG_TEXT, "in=RATE,out=RATE,packets=N,connections=N; no limit when absent", 0, 1},
    {.name = NULL},
};

const Verb verb_network_limit = {
    .name = "network limit",
    .summary = "limit what a VM may use of its networks",
    .operands = operands,
    .description =
        "Limits what each card of a VM in a network may use, from now on and at all "
        "further starts. LIMITS says all of it; what it leaves out has no limit. A clone has the "
        "limits of its source. --net-limit of run and create is the same from the start.\n"
        "\n"
        "  in=RATE, out=RATE   bits a second to the guest, and from it\n"
        "  packets=N           packets a second, each way\n"
        "  connections=N       TCP connections and UDP flows to outside at a time\n"
        "\n"
        "A number may end with k, M or G. Frames wait half a second at most for their turn, then "
        "they are dropped. A TCP connection too many is refused with a RST, a UDP flow too many "
        "dropped. `ramet stats --json` counts both, as \"limit\" and \"connections\". A network "
        "over a bridge drops what is beyond a rate at once, and limits no connections.\n"
        "\n"
        "It is for good; `ramet network impair` makes a network worse for a test.",
    .examples = "ramet network limit web1 in=50M,out=10M,connections=200\n"
                "ramet network limit web1",
    .flags = VERB_JSON,
    .run = network_limit_run,
};
