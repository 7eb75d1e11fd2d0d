/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "cli/client.h"
#include "cli/flat.h"
#include "cli/output.h"
#include "cli/verb_rows.h"
#include "proto/paths.h"

#define STATUS_NOT_RUNNING 3

static int print_absent(const Args *args, Error *error) {
    _cleanup_json_ json_t *document = json_pack("{s:b}", "running", 0);
    int r = args->json ? output_json(document, error) : output_line("not running", error);
    return r < 0 ? r : STATUS_NOT_RUNNING;
}

static int daemon_status_run(const Args *args, Error *error) {
    _cleanup_free_ char *path = api_path(API_VERSION, NULL, NULL), *socket = NULL;
    HttpCall call = HTTP_CALL("GET", path);
    _cleanup_close_ int fd = -1;
    _cleanup_json_ json_t *answer = NULL, *document = NULL;
    int r = client_connect_running(&fd, error);
    if (r < 0 && error->kind == ERROR_NOT_FOUND) {
        error_clear(error);
        return print_absent(args, error);
    }
    if (r == 0)
        r = http_call_json(fd, &call, &answer, error);
    if (r == 0)
        r = paths_socket(&socket, error);
    if (r < 0)
        return r;
    document = json_pack("{s:b, s:s}", "running", 1, "socket", socket);
    json_object_update(document, answer);
    return args->json ? output_json(document, error) : flat_print(document, error);
}

const Verb verb_daemon_status = {
    .name = "daemon status",
    .summary = "tell whether the daemon runs",
    .description = "Shows the daemon's version, pid and home. It starts none: when none runs the "
                   "exit status is 3 and the document is {\"running\":false}.",
    .examples = "ramet daemon status",
    .flags = VERB_JSON,
    .run = daemon_status_run,
};
