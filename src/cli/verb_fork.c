/* SPDX-License-Identifier: Apache-2.0 */
/* Forks, and then runs a command in each clone. One clone's command is run as `ramet exec` does it.
 * For several, one `ramet exec` is started for each, and their output comes here line by line with
 * the clone's name before it. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/spawn.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/verbs.h"

#define LINE_MAX_BYTES 65536

typedef struct Pipe {
    int fd; /* owned; -1: ended */
    FILE *to;
    StrBuf line; /* what came of a line */
} Pipe;

typedef struct Job {
    const char *name; /* borrowed */
    pid_t pid;
    int status;
    Pipe out, err;
} Job;

/* --- output ------------------------------------------------------------------------------------
 */

static void print_line(const Job *job, Pipe *pipe, size_t width) {
    if (width)
        (void)fprintf(pipe->to, "%-*s ", (int)width, job->name);
    (void)fwrite(pipe->line.data ? pipe->line.data : "", 1, pipe->line.size, pipe->to);
    (void)fputc('\n', pipe->to);
    (void)fflush(pipe->to);
    pipe->line.size = 0;
}

static void take_bytes(const Job *job, Pipe *pipe, const char *data, size_t size, size_t width) {
    for (size_t i = 0; i < size; i++) {
        if (data[i] != '\n')
            strbuf_add(&pipe->line, &data[i], 1);
        if (data[i] == '\n' || pipe->line.size >= LINE_MAX_BYTES)
            print_line(job, pipe, width);
    }
}

/* gather: keeps all of it in `line`. */
static void read_pipe(const Job *job, Pipe *pipe, size_t width, bool gather) {
    char data[16384];
    ssize_t size = read(pipe->fd, data, sizeof(data));

    if (size < 0 && errno == EINTR)
        return;
    if (size <= 0) {
        if (!gather && pipe->line.size > 0)
            print_line(job, pipe, width);
        pipe->fd = fd_close(pipe->fd);
    } else if (gather) {
        strbuf_add(&pipe->line, data, (size_t)size);
    } else {
        take_bytes(job, pipe, data, (size_t)size, width);
    }
}

static void read_all(Job *jobs, size_t count, size_t width, bool gather) {
    _cleanup_free_ struct pollfd *fds = calloc(2 * count, sizeof(*fds));
    bool open = fds != NULL;

    while (open) {
        open = false;
        for (size_t i = 0; i < count; i++) {
            fds[2 * i] = (struct pollfd){.fd = jobs[i].out.fd, .events = POLLIN};
            fds[2 * i + 1] = (struct pollfd){.fd = jobs[i].err.fd, .events = POLLIN};
            open |= jobs[i].out.fd >= 0 || jobs[i].err.fd >= 0;
        }
        if (!open || poll(fds, 2 * count, -1) < 0)
            continue;
        for (size_t i = 0; i < count; i++) {
            if (fds[2 * i].revents)
                read_pipe(&jobs[i], &jobs[i].out, width, gather);
            if (fds[2 * i + 1].revents)
                read_pipe(&jobs[i], &jobs[i].err, width, false);
        }
    }
}

/* --- commands ----------------------------------------------------------------------------------
 */

static int start_job(const Args *args, Job *job, Error *error) {
    _cleanup_free_ const char **argv = calloc(args->n_command + 6, sizeof(*argv));
    int out[2] = {-1, -1}, err[2] = {-1, -1}, r;
    size_t n = 0;

    if (!argv || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "cannot run the command in %s", job->name);
    argv[n++] = "ramet";
    argv[n++] = "exec";
    if (args->json)
        argv[n++] = "--json";
    argv[n++] = job->name;
    argv[n++] = "--";
    memcpy(argv + n, args->command, args->n_command * sizeof(*argv));
    {
        const SpawnFd fds[] = {{.from = out[1], .to = 1}, {.from = err[1], .to = 2}};
        const SpawnOptions options = {.program = "/proc/self/exe",
                                      .argv = (char *const *)argv,
                                      .fds = fds,
                                      .n_fds = ARRAY_SIZE(fds),
                                      .die_with_parent = true};

        r = spawn_process(&options, &job->pid, error);
    }
    (void)fd_close(out[1]);
    (void)fd_close(err[1]);
    job->out = (Pipe){.fd = out[0], .to = stdout};
    job->err = (Pipe){.fd = err[0], .to = stderr};
    return r;
}

static void end_job(Job *job) {
    int status = 0;

    if (job->pid > 0) {
        while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR)
            ;
        job->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    job->out.fd = fd_close(job->out.fd);
    job->err.fd = fd_close(job->err.fd);
}

static json_t *job_document(const Job *job, const json_t *vm) {
    json_t *document = NULL;

    if (job->out.line.size == 0 ||
        json_parse("output", job->out.line.data, job->out.line.size, &document, NULL) < 0)
        document = json_pack("{s:i}", "exit_status", job->status);
    (void)json_object_set_new(document, "name", json_string(job->name));
    (void)json_object_set(document, "vm", (json_t *)vm);
    return document;
}

static int run_jobs(const Args *args, const json_t *vms, Job *jobs, size_t count, Error *error) {
    _cleanup_json_ json_t *documents = json_array();
    size_t width = 0;
    int status = 0, r = 0;

    for (size_t i = 0; i < count; i++) {
        jobs[i].out.fd = jobs[i].err.fd = -1;
        jobs[i].name = json_string_value(json_object_get(json_array_get(vms, i), "name"));
        width = count > 1 ? MAX_OF(width, strlen(jobs[i].name) + 1) : 0;
    }
    for (size_t i = 0; r >= 0 && i < count; i++)
        r = start_job(args, &jobs[i], error);
    read_all(jobs, count, width, args->json);
    for (size_t i = 0; i < count; i++) {
        end_job(&jobs[i]);
        status = status ? status : jobs[i].status;
        if (args->json)
            (void)json_array_append_new(documents, job_document(&jobs[i], json_array_get(vms, i)));
        strbuf_free(&jobs[i].out.line);
        strbuf_free(&jobs[i].err.line);
    }
    if (r >= 0 && args->json)
        r = output_json(documents, error);
    return r < 0 ? r : status;
}

static int run_in_each(const Args *args, const json_t *vms, Error *error) {
    size_t count = json_array_size(vms);
    _cleanup_free_ Job *jobs = calloc(count + 1, sizeof(*jobs));

    if (!jobs)
        return error_set_errno(error, ENOMEM, "cannot run the command");
    return run_jobs(args, vms, jobs, count, error);
}

static int run_in_one(const Args *args, const json_t *vm, Error *error) {
    const char *id = json_string_value(json_object_get(vm, "id"));
    Command command = {.interactive = args_flag(args, "interactive"),
                       .tty = args_flag(args, "tty")};
    _cleanup_json_ json_t *request = command_request(args, args->command, &command);
    _cleanup_close_ int fd = -1;
    int r = client_upgrade(API_VM_EXEC, id, request, &fd, error);

    return r < 0 ? r : command_run(fd, &command, NULL, error);
}

/* --- the verb ----------------------------------------------------------------------------------
 */

static json_t *make_request(const Args *args) {
    json_t *request = json_pack("{s:s, s:I, s:b}", "source", args->operands[0], "count",
                                (json_int_t)args_number(args, "count", 1), "keep_going",
                                args_flag(args, "keep-going"));

    if (args_text(args, "name"))
        json_object_set_new(request, "name", json_string(args_text(args, "name")));
    if (args_given(args, "disk"))
        json_object_set_new(request, "disk_bytes",
                            json_integer((json_int_t)args_number(args, "disk", 0)));
    return request;
}

static void remove_all(const json_t *vms) {
    const json_t *vm;
    size_t i;

    json_array_foreach(vms, i, vm) {
        const char *id = json_string_value(json_object_get(vm, "id"));
        _cleanup_error_ Error error = ERROR_INIT;

        if (client_call(API_VM_REMOVE, id ? id : "", "force=1", NULL, NULL, &error) < 0 &&
            error.kind != ERROR_NOT_FOUND)
            output_error(&error);
    }
}

/* Clones that did not get ready, with --keep-going. */
static int tell_errors(const json_t *answer) {
    const json_t *errors = json_object_get(answer, "errors"), *item;
    size_t i;

    json_array_foreach(errors, i, item) {
        const json_t *error = json_object_get(item, "error");
        const char *message = json_string_value(json_object_get(error, "message"));

        output_note("%s: %s", json_string_value(json_object_get(item, "name")),
                    message ? message : "it did not get ready");
    }
    return json_array_size(errors) > 0 ? 1 : 0;
}

/* One clone that nobody counted is a VM, several are a list. */
static int print_vms(const Args *args, const json_t *vms, Error *error) {
    const json_t *vm;
    size_t i;
    int r = 0;

    if (args->json)
        return output_json(args_given(args, "count") ? vms : json_array_get(vms, 0), error);
    json_array_foreach(vms, i, vm) {
        if (r >= 0)
            r = output_line(json_string_value(json_object_get(vm, "name")), error);
    }
    return r;
}

static int fork_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *request = make_request(args), *answer = NULL;
    const json_t *vms;
    int status, r = client_call(API_FORK, NULL, NULL, request, &answer, error);

    if (r < 0)
        return r;
    vms = json_object_get(answer, "vms");
    status = tell_errors(answer);
    if (args->n_command == 0)
        r = print_vms(args, vms, error);
    else if (json_array_size(vms) == 1 && !args->json)
        r = run_in_one(args, json_array_get(vms, 0), error);
    else
        r = run_in_each(args, vms, error);
    if (args_flag(args, "rm"))
        remove_all(vms);
    return r != 0 ? r : status;
}

static const VerbOption options[] = {
    {0, "name", ARG_NAME, .help = "name of the VM, or NAME-1 ... NAME-N; made up when absent"},
    {'n', "count", ARG_NUMBER, "COUNT", .min = 1, .max = 1024, .help = "how many (default 1)"},
    {0, "keep-going", ARG_FLAG, .help = "keep those that get ready when others do not"},
    {0, "disk", ARG_SIZE, .help = "size of the disk, at least the source's"},
    {'i', "interactive", ARG_FLAG, .help = "pass standard input on to the command"},
    {'t', "tty", ARG_FLAG, .help = "give the command a terminal"},
    {'e', "env", ARG_ENV, .many = true,
     .help = "variable for the command; K alone takes the caller's value"},
    {'d', "detach", ARG_FLAG, .help = "do nothing more once they are ready, as without CMD"},
    {0, "rm", ARG_FLAG, .help = "remove the VMs at the end"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"SOURCE", ARG_FORK_SOURCE, "name or id of a snapshot, or of a VM", 1, 1},
    {"CMD", ARG_COMMAND, "program and arguments to run in each VM", 0, MANY},
    {.name = NULL},
};

const Verb verb_fork = {
    .name = "fork",
    .summary = "make VMs that grow from a snapshot or from a VM",
    .options = options,
    .operands = operands,
    .description =
        "Makes COUNT VMs that go on where SOURCE was frozen, each with an identity of its own, and "
        "prints their names once all of them are ready. When one does not get ready none is left, "
        "unless --keep-going is given. A SOURCE that is a VM is frozen first, and runs on; that "
        "snapshot goes by itself when nothing grows from it any more. A snapshot of that name is "
        "taken before a VM.\n"
        "\n"
        "With CMD it runs in each of them; with more than one VM the name stands before each "
        "line, and the exit status is the first that is not 0. With --json the document is the "
        "VM, or with --count a list of them; with CMD a list of {\"name\",\"exit_status\","
        "\"stdout\",\"stderr\",\"vm\"}.",
    .examples = "ramet fork ready\n"
                "ramet fork web1 --name test -n 8 -- hostname",
    .flags = VERB_JSON | VERB_COMMAND_STATUS,
    .run = fork_run,
};
