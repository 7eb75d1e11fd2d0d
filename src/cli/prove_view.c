/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/prove_view.h"

#include "base/fd.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "proto/paths.h"

int prove_print_checks(const json_t *report, Error *error) {
    _cleanup_(table_free_p) Table *table =
        table_new(stdout, (const char *[]){"", "CHECK", "RESULT", NULL});
    const json_t *check;
    size_t i;
    json_array_foreach(json_object_get(report, "checks"), i, check) {
        bool ok = json_is_true(json_object_get(check, "ok"));
        _cleanup_free_ char *what = output_member(check, "what");
        _cleanup_free_ char *message = output_member(check, "message");
        table_add(table, (const char *[]){ok ? "ok" : "BAD", what, message});
    }
    (void)putchar('\n');
    table_print(table);
    return output_flush(error);
}

int prove_run(const Args *args, unsigned count, ProveCall call, json_t **report, Error *error) {
    _cleanup_free_ char *socket = NULL;
    _cleanup_close_ int fd = -1;
    Progress progress;
    int r = client_connect(&fd, error);
    if (r == 0)
        r = paths_socket(&socket, error);
    if (r < 0)
        return r;
    progress_start(&progress);
    r = call(socket, args->operands[0], (unsigned)args_number(args, "count", count), progress_event,
             &progress, report, error);
    progress_end(&progress);
    return r;
}
