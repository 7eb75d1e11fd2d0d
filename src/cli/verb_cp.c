/* SPDX-License-Identifier: Apache-2.0 */
/* A copy is a tar stream: ramet-tar makes or takes it here, the agent in the guest, and this
 * program moves it between a pipe and the client's stream. With "-" it is the caller who makes or
 * takes it. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/client.h"
#include "cli/client_stream.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/tar_helper.h"
#include "cli/verb_rows.h"
#include "proto/agent.h"

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
static int copy_stream(ClientStream *stream, TarHelper *helper, const char *what, Error *error) {
    CopyView view = {.what = what};
    _cleanup_error_ Error told = ERROR_INIT, local = ERROR_INIT;
    ClientStreamEnd end;
    int r, helper_r;
    progress_start(&view.progress);
    stream->on_data = on_data;
    stream->data = &view;
    r = client_stream_run(stream, &end, NULL, &told);
    helper_r = helper->pid > 0 ? tar_helper_finish(helper, &local) : 0;
    progress_end(&view.progress);
    if (helper_r < 0 && (r == 0 || r == -EPIPE || (stream->in_fd >= 0 && helper_r != -EPIPE)))
        return error_move(error, &local);
    return r < 0 ? error_move(error, &told) : 0;
}

static int upgrade_copy(ApiId id, const char *vm, const char *path, uint64_t flags, int *fd,
                        Error *error) {
    _cleanup_json_ json_t *body =
        json_pack("{s:o, s:I}", "path", json_from_cstring(path), "flags", (json_int_t)flags);
    return client_upgrade(id, vm, body, fd, error);
}

static bool is_stream(const char *path) {
    return str_equal(path, "-");
}

static int refuse_terminal(int fd, Error *error) {
    int r;
    if (!isatty(fd))
        return 0;
    r = error_set(error, ERROR_USAGE, EINVAL, "cp: \"-\" is an archive, and no terminal's matter");
    error_set_hint(error, fd == STDIN_FILENO ? "tar -c FILE | ramet cp - VM:FOLDER"
                                             : "ramet cp VM:PATH - | tar -x");
    return r;
}

/* There is something under that name, before a VM is asked for anything. */
static int check_source(const char *source, Error *error) {
    struct stat st;
    if (is_stream(source))
        return refuse_terminal(STDIN_FILENO, error);
    return lstat(source, &st) < 0 ? error_set_errno(error, errno, "cannot copy %s", source) : 0;
}

static int copy_in(const char *source, const char *vm, const char *path, uint64_t follow,
                   Error *error) {
    _cleanup_close_ int fd = -1;
    ClientStream stream = CLIENT_STREAM_INIT;
    TarHelper helper = TAR_HELPER_INIT;
    uint64_t flags = is_stream(source)           ? COPY_EXTRACT
                     : str_has_suffix(path, "/") ? COPY_INTO_FOLDER
                                                 : 0;
    int r = check_source(source, error);
    if (r == 0)
        r = upgrade_copy(API_VM_COPY_IN, vm, path, flags, &fd, error);
    if (r == 0 && !is_stream(source))
        r = tar_helper_start("create", follow, source, &helper, error);
    if (r < 0)
        return r;
    stream.socket = fd;
    stream.in_fd = helper.pid > 0 ? helper.pipe : STDIN_FILENO;
    return copy_stream(&stream, &helper, source, error);
}

/* Into a folder that is there, or under the destination's last name into the folder above. */
static int check_destination(const char *destination, Error *error) {
    _cleanup_free_ char *above = NULL;
    const char *slash = strrchr(destination, '/');
    struct stat st;
    if (is_stream(destination))
        return refuse_terminal(STDOUT_FILENO, error);
    if (stat(destination, &st) == 0)
        return 0;
    while (slash && slash > destination && !slash[1])
        slash = memrchr(destination, '/', (size_t)(slash - destination)) ?: destination;
    above = !slash                 ? str_copy(".")
            : slash == destination ? str_copy("/")
                                   : str_format("%.*s", (int)(slash - destination), destination);
    if (stat(above, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    return error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no folder %s", above);
}

static int copy_out(const char *vm, const char *path, const char *destination, uint64_t follow,
                    Error *error) {
    _cleanup_close_ int fd = -1;
    ClientStream stream = CLIENT_STREAM_INIT;
    TarHelper helper = TAR_HELPER_INIT;
    uint64_t flags = str_has_suffix(destination, "/") ? COPY_INTO_FOLDER : 0;
    int r = check_destination(destination, error);
    if (r == 0)
        r = upgrade_copy(API_VM_COPY_OUT, vm, path, follow, &fd, error);
    if (r == 0 && !is_stream(destination))
        r = tar_helper_start("extract", flags, destination, &helper, error);
    if (r < 0)
        return r;
    stream.socket = fd;
    stream.out_fd = helper.pid > 0 ? helper.pipe : STDOUT_FILENO;
    return copy_stream(&stream, &helper, path, error);
}

/* "VM:PATH" → its VM; NULL for a path here (the parser has checked the name). */
static char *vm_of(const char *text, const char **path) {
    const char *colon = copy_path_colon(text);
    if (!colon)
        return NULL;
    *path = colon[1] ? colon + 1 : ".";
    return str_format("%.*s", (int)(colon - text), text);
}

static int cp_run(const Args *args, Error *error) {
    const char *source = args->operands[0], *destination = args->operands[1], *path = NULL;
    _cleanup_free_ char *from = vm_of(source, &path), *to = vm_of(destination, &path);
    _cleanup_json_ json_t *done = NULL;
    uint64_t follow = args_flag(args, "follow-link") ? COPY_FOLLOW : 0;
    int r;
    if (args->json && is_stream(destination))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "cp: --json and an archive do not go together");
    if (!from == !to) {
        r = error_set(error, ERROR_USAGE, EINVAL,
                      from ? "cp: both sides are in VMs" : "cp: no side is in a VM");
        error_set_hint(error, "ramet cp FILE VM:PATH, or ramet cp VM:PATH FILE");
        return r;
    }
    r = from ? copy_out(from, path, destination, follow, error)
             : copy_in(source, to, path, follow, error);
    if (r < 0 || !args->json)
        return r;
    done = json_object();
    return output_json(done, error);
}

static const VerbOption options[] = {
    {.letter = 'L',
     .name = "follow-link",
     .kind = ARG_FLAG,
     .help = "copy what symbolic links in SOURCE lead to, not the links"},
    {.name = NULL},
};

static const VerbOperand operands[] = {
    {"SOURCE", ARG_COPY_PATH, "a path here, or VM:PATH, or -", 1, 1},
    {"DESTINATION", ARG_COPY_PATH, "a path here, or VM:PATH, or -", 1, 1},
    {.name = NULL},
};

const Verb verb_cp = {
    .name = "cp",
    .summary = "copy files and folders into a VM or out of it",
    .options = options,
    .operands = operands,
    .description =
        "Copies a file or a folder with all below it. One side is VM:PATH. A destination that is "
        "an existing folder gets the copy under its own name; else the copy gets the "
        "destination's name. FOLDER/. is what the folder holds, without itself. Modes, times, "
        "symbolic and hard links and holes are kept. Owners, access lists and extended "
        "attributes are not: a copy into a VM is root's, a copy out is the caller's.\n"
        "\n"
        "Sockets, device nodes and, on the way out, set-user-ID and set-group-ID bits are left "
        "out, and so are /proc and the like when a folder above them is copied. What cannot be "
        "read does not hinder the rest. In all these cases the rest is copied, a message says "
        "what was left out, and the exit status is 1. A file or a new folder gets its name when it "
        "is complete: a copy that breaks off leaves nothing half done.\n"
        "\n"
        "With - as the source, a tar archive on standard input is unpacked into the folder "
        "VM:PATH; with - as the destination, a tar archive of VM:PATH goes to standard output.\n"
        "\n"
        "What a VM sends is not trusted: it can write nowhere but to the destination. A local path "
        "with a colon that could be the end of a VM's name (a:b, lab/vm:b) is written ./a:b.",
    .examples = "ramet cp site/ web1:/srv/www\nramet cp web1:/var/log/nginx .\n"
                "ramet cp site/. web1:/srv/www\nramet cp web1:/etc - | tar -t",
    .flags = VERB_JSON,
    .run = cp_run,
};
