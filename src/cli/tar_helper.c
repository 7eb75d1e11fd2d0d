/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tar_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process/spawn.h"
#include "base/str.h"

/* Starts ramet-tar with its standard output (reads: true) or input being our pipe. */
static int start(char *const *argv, bool reads, TarHelper *helper, Error *error) {
    _cleanup_free_ char *program = path_find_sibling("ramet-tar");
    _cleanup_close_ int errors = memfd_create("errors", MFD_CLOEXEC), ours = -1, theirs = -1;
    int ends[2], r;
    if (!program)
        return error_set(error, ERROR_FAILED, ENOENT, "cannot find ramet-tar");
    if (errors < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "cannot start ramet-tar");
    ours = ends[reads ? 0 : 1];
    theirs = ends[reads ? 1 : 0];
    SpawnFd fds[] = {{theirs, reads ? STDOUT_FILENO : STDIN_FILENO}, {errors, STDERR_FILENO}};
    SpawnOptions options = {.program = program,
                            .argv = argv,
                            .fds = fds,
                            .n_fds = ARRAY_SIZE(fds),
                            .die_with_parent = true};
    r = spawn_process(&options, &helper->pid, error);
    if (r < 0)
        return r;
    helper->pipe = TAKE_FD(ours);
    helper->errors = TAKE_FD(errors);
    return 0;
}

int tar_helper_finish(TarHelper *helper, Error *error) {
    char text[4096];
    _cleanup_json_ json_t *json = NULL;
    int status = 0;
    ssize_t n;
    helper->pipe = fd_close(helper->pipe);
    while (waitpid(helper->pid, &status, 0) < 0 && errno == EINTR)
        ;
    n = fd_pread_full(helper->errors, text, sizeof(text), 0);
    helper->errors = fd_close(helper->errors);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (n > 0 && json_parse("error", text, (size_t)n, &json, NULL) == 0 &&
        json_to_error(json, error) == 0)
        return -error->errnum;
    /* killed by SIGPIPE, which is what we did to it by closing our end */
    return error_set(error, ERROR_FAILED, WIFSIGNALED(status) ? EPIPE : EIO,
                     "ramet-tar ended with wait status %d", status);
}

int tar_helper_start(const char *what, uint64_t flags, const char *path, TarHelper *helper,
                     Error *error) {
    _cleanup_free_ char *number = str_format("%" PRIu64, flags);
    return start((char *[]){(char *)"ramet-tar", (char *)what, number, (char *)path, NULL},
                 what[0] == 'c', helper, error);
}
