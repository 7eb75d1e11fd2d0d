/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "cli/client.h"
#include "cli/flat.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

/* What a daemon says that runs, or NULL. */
static json_t *ask_daemon(void) {
    _cleanup_free_ char *path = api_path(API_VERSION, NULL, NULL);
    HttpCall call = HTTP_CALL("GET", path);
    _cleanup_close_ int fd = -1;
    json_t *answer = NULL;
    if (client_connect_running(&fd, NULL) < 0 || http_call_json(fd, &call, &answer, NULL) < 0)
        return NULL;
    return answer;
}

static int version_run(const Args *args, Error *error) {
    json_t *daemon = ask_daemon();
    _cleanup_json_ json_t *document =
        json_pack("{s:s, s:o}", "version", RAMET_VERSION, "daemon", daemon ? daemon : json_null());
    if (args->json)
        return output_json(document, error);
    if (!daemon)
        json_object_set_new(document, "daemon", json_string("not running"));
    return flat_print(document, error);
}

const Verb verb_version = {
    .name = "version",
    .summary = "show the versions of the parts",
    .description = "Shows the version of this program, and of the daemon, QEMU and accelerator "
                   "when a daemon runs. It does not start one.",
    .examples = "ramet version --json",
    .flags = VERB_JSON,
    .run = version_run,
};
