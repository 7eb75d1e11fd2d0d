/* SPDX-License-Identifier: Apache-2.0 */
/* A copy is a tar stream: ramet-tar makes or takes it here, the agent in the guest, and this
 * program moves it between a pipe and the client's stream. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/spawn.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/stream.h"
#include "cli/verbs.h"
#include "proto/agent.h"

typedef struct Helper {
    pid_t pid;
    int pipe;   /* owned: our end */
    int errors; /* owned: its standard error, a memory file */
} Helper;

/* Starts ramet-tar with its standard output (reads: true) or input being our pipe. */
static int helper_start(char *const *argv, bool reads, Helper *helper, Error *error) {
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

/* Closes our end, waits for it, and gives its error. */
static int helper_finish(Helper *helper, Error *error) {
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

typedef struct CopyView {
    Progress progress;
    const char *what;
} CopyView;

static void on_data(void *data, uint64_t bytes) {
    CopyView *view = data;

    progress_show(&view->progress, view->what, bytes, 0);
}

/* Runs the stream beside the helper; of two errors the one that came first in cause is told: the
 * helper's, unless it only saw the stream end too early. */
static int copy_stream(Stream *stream, Helper *helper, const char *what, Error *error) {
    CopyView view = {.what = what};
    _cleanup_error_ Error told = ERROR_INIT, local = ERROR_INIT;
    StreamEnd end;
    int r, helper_r;

    progress_start(&view.progress);
    stream->on_data = on_data;
    stream->data = &view;
    r = stream_run(stream, &end, NULL, &told);
    helper_r = helper_finish(helper, &local);
    progress_end(&view.progress);
    if (helper_r < 0 && (r == 0 || r == -EPIPE || (stream->in_fd >= 0 && helper_r != -EPIPE)))
        return error_move(error, &local);
    return r < 0 ? error_move(error, &told) : 0;
}

static int upgrade_copy(ApiId id, const char *vm, const char *path, uint64_t flags, int *fd,
                        Error *error) {
    _cleanup_json_ json_t *body = json_pack("{s:s, s:I}", "path", path, "flags", (json_int_t)flags);

    if (!body)
        return error_set(error, ERROR_USAGE, EINVAL, "the path is no UTF-8");
    return client_upgrade(id, vm, body, fd, error);
}

/* The last name of a path, also of ".", ".." and "/". The caller owns it. */
static int last_name(const char *path, char **name, Error *error) {
    _cleanup_free_ char *real = NULL;
    const char *end = path + strlen(path), *start;

    while (end > path && end[-1] == '/')
        end--;
    start = memrchr(path, '/', (size_t)(end - path));
    start = start ? start + 1 : path;
    if (start < end && strncmp(start, ".", (size_t)(end - start)) != 0 &&
        strncmp(start, "..", (size_t)(end - start)) != 0) {
        *name = str_format("%.*s", (int)(end - start), start);
        return 0;
    }
    real = realpath(path, NULL);
    if (!real)
        return error_set_errno(error, errno, "cannot copy %s", path);
    *name = str_copy(real[1] ? strrchr(real, '/') + 1 : "root");
    return 0;
}

static int copy_in(const char *source, const char *vm, const char *path, Error *error) {
    _cleanup_free_ char *name = NULL;
    _cleanup_close_ int fd = -1;
    Stream stream = STREAM_INIT;
    Helper helper = {.pipe = -1, .errors = -1};
    struct stat st;
    int r = last_name(source, &name, error);

    if (r == 0 && lstat(source, &st) < 0)
        r = error_set_errno(error, errno, "cannot copy %s", source);
    if (r == 0)
        r = upgrade_copy(API_VM_COPY_IN, vm, path, str_has_suffix(path, "/") ? COPY_INTO_FOLDER : 0,
                         &fd, error);
    if (r == 0)
        r = helper_start(
            (char *[]){(char *)"ramet-tar", (char *)"create", (char *)source, name, NULL}, true,
            &helper, error);
    if (r < 0)
        return r;
    stream.socket = fd;
    stream.in_fd = helper.pipe;
    return copy_stream(&stream, &helper, source, error);
}

/* Where the copy goes: into an existing folder under its own name (*name NULL), or under the
 * destination's last name into the folder above. */
static int find_target(const char *destination, char **folder, char **name, Error *error) {
    struct stat st;
    const char *slash = strrchr(destination, '/');

    if (stat(destination, &st) == 0 && S_ISDIR(st.st_mode)) {
        *folder = str_copy(destination);
        return 0;
    }
    if (slash && !slash[1])
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no folder %s", destination);
    *folder = !slash                 ? str_copy(".")
              : slash == destination ? str_copy("/")
                                     : str_format("%.*s", (int)(slash - destination), destination);
    *name = str_copy(slash ? slash + 1 : destination);
    if (stat(*folder, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    return error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no folder %s", *folder);
}

static int copy_out(const char *vm, const char *path, const char *destination, Error *error) {
    _cleanup_free_ char *folder = NULL, *name = NULL;
    _cleanup_close_ int fd = -1;
    Stream stream = STREAM_INIT;
    Helper helper = {.pipe = -1, .errors = -1};
    int r = find_target(destination, &folder, &name, error);

    if (r == 0)
        r = upgrade_copy(API_VM_COPY_OUT, vm, path, 0, &fd, error);
    if (r == 0)
        r = helper_start((char *[]){(char *)"ramet-tar", (char *)"extract", folder, name, NULL},
                         false, &helper, error);
    if (r < 0)
        return r;
    stream.socket = fd;
    stream.out_fd = helper.pipe;
    return copy_stream(&stream, &helper, path, error);
}

/* "VM:PATH" → its VM; NULL for a path here (the parser has checked the name). */
static char *vm_of(const char *text, const char **path) {
    size_t n = strcspn(text, ":/");

    if (text[n] != ':')
        return NULL;
    *path = text[n + 1] ? text + n + 1 : ".";
    return str_format("%.*s", (int)n, text);
}

static int cp_run(const Args *args, Error *error) {
    const char *source = args->operands[0], *destination = args->operands[1], *path = NULL;
    _cleanup_free_ char *from = vm_of(source, &path), *to = vm_of(destination, &path);
    _cleanup_json_ json_t *done = NULL;
    int r;

    if (!from == !to) {
        r = error_set(error, ERROR_USAGE, EINVAL,
                      from ? "cp: both sides are in VMs" : "cp: no side is in a VM");
        error_set_hint(error, "ramet cp FILE VM:PATH, or ramet cp VM:PATH FILE");
        return r;
    }
    r = from ? copy_out(from, path, destination, error) : copy_in(source, to, path, error);
    if (r < 0 || !args->json)
        return r;
    done = json_object();
    return output_json(done, error);
}

static const VerbOperand operands[] = {
    {"SOURCE", ARG_COPY_PATH, "a path here, or VM:PATH", 1, 1},
    {"DESTINATION", ARG_COPY_PATH, "a path here, or VM:PATH", 1, 1},
    {.name = NULL},
};

const Verb verb_cp = {
    .name = "cp",
    .summary = "copy files and folders into a VM or out of it",
    .operands = operands,
    .description =
        "Copies a file or a folder with all below it. One side is VM:PATH. A destination that is "
        "an existing folder gets the copy under its own name; else the copy gets the "
        "destination's name. Modes, times, symbolic and hard links and holes are kept; owners are "
        "not: a copy into a VM is root's, a copy out is the caller's.\n"
        "\n"
        "What a VM sends is not trusted: it can write nowhere but to the destination. A local path "
        "with a colon before its first slash is written ./a:b.",
    .examples = "ramet cp site/ web1:/srv/www\nramet cp web1:/var/log/nginx .",
    .flags = VERB_JSON,
    .run = cp_run,
};
