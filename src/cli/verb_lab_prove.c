/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "cli/output.h"
#include "cli/prove_view.h"
#include "cli/table.h"
#include "cli/verb_rows.h"
#include "prove/lab.h"

static void print_vms(const json_t *report) {
    static const char *const keys[] = {"name", "hostname", "machine_id", "boot_id",
                                       "mac",  "ip",       "random"};
    static const int digits[] = {40, 20, 8, 8, 17, 15, 8};
    _cleanup_(table_free_p) Table *table =
        table_new(stdout, (const char *[]){"VM", "HOSTNAME", "MACHINE-ID", "BOOT-ID", "MAC", "IP",
                                           "RANDOM", NULL});
    const json_t *vm;
    size_t i;
    json_array_foreach(json_object_get(report, "vms"), i, vm) {
        const char *cells[ARRAY_SIZE(keys)];
        char *texts[ARRAY_SIZE(keys)];
        for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
            _cleanup_free_ char *whole = output_member(vm, keys[k]);
            cells[k] = texts[k] = str_format("%.*s", digits[k], whole);
        }
        table_add(table, cells);
        for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
            free(texts[k]);
    }
    table_print(table);
}

static int lab_prove_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *report = NULL;
    int r = prove_run(args, PROVE_COPIES_DEFAULT, prove_lab, &report, error);
    if (r < 0)
        return r;
    if (!args->json)
        print_vms(report);
    r = args->json ? output_json(report, error) : prove_print_checks(report, error);
    if (r < 0)
        return r;
    return json_is_true(json_object_get(report, "ok")) ? 0 : 1;
}

static const VerbOption options[] = {
    {'n', "count", ARG_NUMBER, "COUNT", .help = "how many copies of a snapshot; 2 when not given",
     .min = 2, .max = PROVE_COPIES_MAX},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"SOURCE", ARG_LAB_SOURCE, "name or id of a lab's snapshot, or of a lab that is a copy", 1, 1},
    {.name = NULL},
};

const Verb verb_lab_prove = {
    .name = "lab prove",
    .summary = "show on copies of a lab what lab fork promises",
    .options = options,
    .operands = operands,
    .description =
        "Makes copies of a lab's snapshot, or looks at a lab that is a copy, and shows that each "
        "VM "
        "was restored and did not boot; that random bytes, UUIDs, boot-id and generation differ "
        "in all of them; that the clocks are within 50 ms of the host's; that host name, "
        "machine-id, MAC, address and SSH host keys are the same in each copy; that each TCP "
        "connection between VMs of a copy is known to both of its ends; and that what one copy "
        "sends no other copy gets, though they have the same addresses. The copies that it made "
        "are removed.\n"
        "\n"
        "The exit status is 1 when anything is not as it should be.",
    .examples = "ramet lab prove ready\n"
                "ramet lab prove ready-1",
    .flags = VERB_JSON,
    .run = lab_prove_run,
};
