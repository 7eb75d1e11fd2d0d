/* SPDX-License-Identifier: Apache-2.0 */
/* Commands and files for clients that speak plain HTTP, such as curl. What comes from a guest does
 * not come by here: the keeper gets the client's socket and writes the response. What goes to a
 * guest does: the request's body has been read when a handler runs, and is given to the keeper as a
 * file. */

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "daemon/handlers.h"
#include "proto/agent.h"
#include "run/hand_over.h"

/* Hands the client's socket, and input_fd unless it is -1, to the VM's keeper, which answers in the
 * given form. When it refuses, the answer is ours. */
static int hand_plain(Request *request, const char *op, const char *form, int input_fd,
                      Error *error) {
    _cleanup_json_ json_t *asked = json_copy(request->input);
    int fds[2] = {-1, input_fd}, r = request_steal_socket(request, &fds[0], error);
    if (r < 0)
        return r;
    (void)json_object_set_new(asked, "answer", json_string(form));
    (void)json_object_set_new(asked, "chunked", json_boolean(request->chunks));
    r = vm_ask_keeper(request->home, request->argument, op, asked, fds, input_fd < 0 ? 1 : 2, NULL,
                      error);
    if (r < 0) {
        request_return_socket(request, fds[0]);
        return r;
    }
    (void)fd_close(fds[0]);
    request->handed_over = true;
    return 0;
}

/* Commands */

/* The member "input" as a file; -1 when there is none. It goes out of the request. */
static int input_to_file(Request *request, int *fd, Error *error) {
    const json_t *input = json_object_get(request->input, "input");
    _cleanup_free_ char *bytes = NULL;
    _cleanup_close_ int file = -1;
    size_t size;
    int r;
    if (!input || json_is_null(input))
        return 0;
    if (json_to_bytes(input, &bytes, &size) < 0)
        return error_set(error, ERROR_USAGE, 0, "input is neither a string nor base64");
    file = memfd_create("input", MFD_CLOEXEC);
    r = file < 0 ? -errno : fd_write_full(file, bytes, size);
    if (r < 0 || lseek(file, 0, SEEK_SET) < 0)
        return error_set_errno(error, r < 0 ? -r : errno, "cannot keep the input");
    (void)json_object_del(request->input, "input");
    *fd = TAKE_FD(file);
    return 0;
}

HANDLER(plain_exec) {
    _cleanup_close_ int input_fd = -1;
    int r;
    if (request_flag(request, "stdin"))
        return error_set(error, ERROR_USAGE, 0,
                         "stdin needs \"Upgrade: ramet-stream\"; give input instead");
    r = check_running(request, error);
    if (r == 0)
        r = input_to_file(request, &input_fd, error);
    if (r < 0)
        return r;
    if (!request_flag(request, "detach"))
        return hand_plain(request, "exec", request->wants_lines ? "lines" : "document", input_fd,
                          error);
    return vm_ask_keeper(request->home, request->argument, "exec_detached", request->input,
                         &input_fd, input_fd < 0 ? 0 : 1, answer, error);
}

HANDLER(handle_vm_exec_wait) {
    (void)answer;
    return hand_plain(request, "exec_wait", "document", -1, error);
}

HANDLER(handle_vm_exec_list) {
    _cleanup_json_ json_t *said = NULL;
    int r = vm_ask_keeper(request->home, request->argument, "exec_list", request->input, NULL, 0,
                          &said, error);
    if (r == 0)
        *answer = json_incref(json_object_get(said, "list"));
    return r;
}

HANDLER(handle_vm_exec_kill) {
    (void)answer;
    return vm_ask_keeper(request->home, request->argument, "exec_kill", request->input, NULL, 0,
                         NULL, error);
}

/* Files */

HANDLER(handle_vm_file_read) {
    int r = check_running(request, error);
    (void)answer;
    return r < 0 ? r : hand_plain(request, "read", "file", -1, error);
}

HANDLER(handle_vm_file_stat) {
    int r = check_running(request, error);
    (void)answer;
    return r < 0 ? r : hand_plain(request, "stat", "stat", -1, error);
}

/* "0644", as chmod(1) takes it. */
static int read_mode(Request *request, Error *error) {
    const char *text = request_text(request, "mode");
    unsigned mode = 0;
    for (const char *p = text; p && *p; p++) {
        if (*p < '0' || *p > '7' || mode > 07777 / 8)
            return error_set(error, ERROR_USAGE, 0, "mode is no octal number up to 7777");
        mode = mode * 8 + (unsigned)(*p - '0');
    }
    if (text)
        (void)json_object_set_new(request->input, "mode", json_integer(mode));
    return 0;
}

HANDLER(handle_vm_file_write) {
    int r = read_mode(request, error);
    off_t size;
    (void)answer;
    if (r == 0)
        r = check_running(request, error);
    if (r < 0)
        return r;
    size = lseek(request->upload_fd, 0, SEEK_END);
    if (size < 0 || lseek(request->upload_fd, 0, SEEK_SET) < 0)
        return error_set_errno(error, errno, "cannot read the upload");
    (void)json_object_set_new(request->input, "bytes", json_integer(size));
    if (request->brings_tar)
        (void)json_object_set_new(request->input, "flags", json_integer(COPY_EXTRACT));
    return hand_plain(request, request->brings_tar ? "copy_in" : "write", "done",
                      request->upload_fd, error);
}
