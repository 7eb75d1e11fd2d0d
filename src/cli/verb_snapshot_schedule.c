/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/clock.h"
#include "cli/arg_time.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

#define KEEP_DEFAULT 7

static int set(const Args *args, Error *error) {
    uint64_t usec = 0;
    _cleanup_json_ json_t *request = NULL, *vm = NULL;
    int r;
    if (args_given(args, "every"))
        (void)duration_parse(args_text(args, "every"), &usec, NULL);
    if (args_given(args, "every") && usec < USEC_PER_SEC)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "snapshot schedule: --every %s is less than a second; --off ends it",
                         args_text(args, "every"));
    request = json_pack("{s:I, s:I}", "snapshot_every_ms", (json_int_t)(usec / USEC_PER_MSEC),
                        "snapshot_keep", (json_int_t)args_number(args, "keep", KEEP_DEFAULT));
    r = client_call(API_VM_UPDATE, args->operands[0], NULL, request, &vm, error);
    return r < 0 ? r : output_json_or_line(args, vm, args->operands[0], error);
}

/* "every 90 s" in the largest unit that fits. The caller owns it. */
static char *show_span(json_int_t msec) {
    static const struct {
        const char *unit;
        json_int_t msec;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};
    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (msec % units[i].msec == 0)
            return str_format("%lld%s", (long long)(msec / units[i].msec), units[i].unit);
    return str_format("%lldms", (long long)msec);
}

static void show(const json_t *vm) {
    _cleanup_free_ char *every =
        show_span(json_integer_value(json_object_get(vm, "snapshot_every_ms")));
    const char *next = json_string_value(json_object_get(vm, "snapshot_at"));
    printf("%s  every %s  keep %lld  next %s\n", json_string_value(json_object_get(vm, "name")),
           every, (long long)json_integer_value(json_object_get(vm, "snapshot_keep")),
           next ? next : "when it runs");
}

static int list(const Args *args, Error *error) {
    _cleanup_json_ json_t *vms = NULL, *found = json_array();
    const json_t *vm;
    size_t i;
    int r = client_call(API_VM_LIST, NULL, "all=1", NULL, &vms, error);
    if (r < 0)
        return r;
    json_array_foreach(vms, i, vm) {
        if (json_is_integer(json_object_get(vm, "snapshot_every_ms")))
            (void)json_array_append(found, (json_t *)vm);
    }
    if (args->json)
        return output_json(found, error);
    json_array_foreach(found, i, vm) show(vm);
    return output_flush(error);
}

static int schedule_run(const Args *args, Error *error) {
    return args->n_operands == 0 ? list(args, error) : set(args, error);
}

static int check(const Args *args, Error *error) {
    bool every = args_given(args, "every"), off = args_flag(args, "off");
    if (args->n_operands > 0 ? every != off : !every && !off && !args_given(args, "keep"))
        return 0;
    return error_set(error, ERROR_USAGE, EINVAL,
                     "snapshot schedule: a VM with --every or --off, "
                     "or nothing at all");
}

static const VerbOption options[] = {
    {0, "every", ARG_DURATION, .max = API_MSEC_MAX,
     .help = "take one so often, at least every second"},
    {0, "keep", ARG_NUMBER, "N", .min = 1, .max = 1000, .help = "so many of them (default 7)"},
    {0, "off", ARG_FLAG, .help = "take no more; those that are there stay"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM; without one the schedules are listed", 0, 1},
    {.name = NULL},
};

const Verb verb_snapshot_schedule = {
    .name = "snapshot schedule",
    .summary = "take snapshots of a VM again and again",
    .options = options,
    .operands = operands,
    .description =
        "Takes a snapshot of the VM so often while it runs, named VM-auto-DATE-TIME (UTC), and "
        "removes the oldest of them when there are more than N, unless something grows from it. "
        "Other snapshots of the VM are left alone. What was missed while the daemon or the host "
        "was off is not made up for: one snapshot is taken at once, the next a whole period "
        "later. A clone has no schedule of its source.",
    .examples = "ramet snapshot schedule db --every 1h --keep 24\n"
                "ramet snapshot schedule\n"
                "ramet snapshot schedule db --off",
    .flags = VERB_JSON,
    .check = check,
    .run = schedule_run,
};
