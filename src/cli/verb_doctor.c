/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/verb_rows.h"

/* A check's status: "ok", "info", "warning" or "error". */
static const char *status_mark(const char *status) {
    bool utf8 = output_is_utf8();
    if (str_equal(status, "ok"))
        return utf8 ? "✓" : "ok";
    if (str_equal(status, "info"))
        return utf8 ? "·" : "info";
    if (str_equal(status, "warning"))
        return "!";
    return utf8 ? "✗" : "ERROR";
}

static const char *text_of(const json_t *check, const char *key) {
    const char *text = json_string_value(json_object_get(check, key));
    return text ? text : "";
}

static bool is_bad(const json_t *check) {
    return str_equal(text_of(check, "status"), "error");
}

/* Why it matters and how to mend it, for what is not well. */
static void print_advice(const json_t *check) {
    if (str_equal(text_of(check, "status"), "ok"))
        return;
    (void)printf("\n%s: %s\n", text_of(check, "name"), text_of(check, "found"));
    if (text_of(check, "why")[0])
        (void)printf("    why:  %s\n", text_of(check, "why"));
    if (text_of(check, "mend")[0])
        (void)printf("    mend: %s\n", text_of(check, "mend"));
}

static void print_checks(const json_t *checks) {
    _cleanup_(table_free_p) Table *table =
        table_new(stdout, (const char *[]){"", "CHECK", "~FOUND", NULL});
    const json_t *check;
    size_t i;
    json_array_foreach(checks, i, check) {
        table_add(table, (const char *[]){status_mark(text_of(check, "status")),
                                          text_of(check, "name"), text_of(check, "found")});
    }
    table_print(table);
    json_array_foreach(checks, i, check) print_advice(check);
}

static int doctor_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    const json_t *checks, *check;
    bool bad = false;
    size_t i;
    int r = client_call(API_DOCTOR, NULL, NULL, NULL, &answer, error);
    if (r < 0)
        return r;
    checks = json_object_get(answer, "checks");
    json_array_foreach(checks, i, check) bad = bad || is_bad(check);
    if (args->json) {
        r = output_json(answer, error);
    } else {
        print_checks(checks);
        r = output_flush(error);
    }
    return r < 0 ? r : bad;
}

const Verb verb_doctor = {
    .name = "doctor",
    .summary = "examine this host",
    .description = "Examines the host: accelerator, QEMU, kernel, tools, file system, memory, disk "
                   "room, leftovers. Each check says what it found; where something is not well, "
                   "why it matters and how to mend it. The exit status is 1 when a check is an "
                   "error; warnings leave it 0.",
    .examples = "ramet doctor",
    .flags = VERB_JSON,
    .run = doctor_run,
};
