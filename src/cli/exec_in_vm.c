/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/exec_in_vm.h"

#include <errno.h>

#include "base/fd.h"
#include "cli/client.h"
#include "cli/output.h"

static int run_detached(const Args *args, const char *vm, json_t *request, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_free_ char *id = NULL;
    int r;
    if (args_flag(args, "interactive")) {
        r = error_set(error, ERROR_USAGE, EINVAL, "exec: --detach leaves nobody to give input");
        error_set_hint(error, "leave out --interactive");
        return r;
    }
    r = command_detach(vm, request, &answer, error);
    if (r < 0)
        return r;
    id = output_member(answer, "id");
    return output_json_or_line(args, answer, id, error);
}

int exec_in_vm(const Args *args, const char *vm, Error *error) {
    Command command = {.interactive = args_flag(args, "interactive"),
                       .tty = args_flag(args, "tty"),
                       .json = args->json};
    _cleanup_json_ json_t *request = command_request(args, args->command, &command);
    _cleanup_close_ int fd = -1;
    int r;
    if (args_flag(args, "detach"))
        return run_detached(args, vm, request, error);
    r = client_upgrade(API_VM_EXEC, vm, request, &fd, error);
    return r < 0 ? r : command_run(fd, &command, NULL, error);
}
