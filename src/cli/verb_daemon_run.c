/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include "base/path.h"
#include "cli/verb_rows.h"

static int daemon_run_run(const Args *args, Error *error) {
    _cleanup_free_ char *program = path_find_sibling("rametd");
    if (!program)
        return error_set(error, ERROR_FAILED, ENOENT, "cannot find rametd");
    (void)execl(program, "rametd", (char *)NULL);
    return error_set_errno(error, errno, "cannot run %s", program);
}

const Verb verb_daemon_run = {
    .name = "daemon run",
    .summary = "run the daemon in the foreground",
    .description = "Becomes rametd, which logs to standard error and ends on INT and TERM. VMs do "
                   "not end with it.",
    .examples = "ramet daemon run",
    .run = daemon_run_run,
};
