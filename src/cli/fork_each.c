/* SPDX-License-Identifier: Apache-2.0 */
/* One poll(2) loop over our input and the pipes of all jobs. A piece of input is kept until each
 * job has taken it, and only then is more read; a job whose command does not read any more drops
 * out. The jobs' inputs are sockets, since writing to a pipe that nobody reads raises SIGPIPE. */

#include "cli/fork_each.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/process/spawn.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

#define LINE_MAX_BYTES 65536
#define INPUT_BYTES 65536

typedef struct Pipe {
    int fd; /* owned; -1: ended */
    FILE *to;
    StrBuf line; /* what came of a line */
} Pipe;

typedef struct Job {
    const char *name; /* borrowed */
    pid_t pid;
    int status;
    int in;         /* owned; -1: it takes no input */
    size_t in_done; /* of the piece */
    Pipe out, err;
} Job;

typedef struct Each {
    const Args *args;
    Job *jobs; /* owned */
    size_t count;
    size_t width; /* of the names before the lines; 0: none */
    bool in_open; /* there may be more input */
    char *piece;  /* owned; INPUT_BYTES */
    size_t piece_size;
} Each;

/* ---- output ---- */

static void print_line(const Job *job, Pipe *pipe, size_t width) {
    if (width)
        (void)fprintf(pipe->to, "%-*s ", (int)width, job->name);
    (void)fwrite(pipe->line.data ? pipe->line.data : "", 1, pipe->line.size, pipe->to);
    (void)fputc('\n', pipe->to);
    (void)fflush(pipe->to);
    pipe->line.size = 0;
}

static void add_bytes(const Job *job, Pipe *pipe, const char *data, size_t size, size_t width) {
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
        add_bytes(job, pipe, data, (size_t)size, width);
    }
}

/* ---- input ---- */

static void end_input(Job *job) {
    job->in = fd_close(job->in);
}

/* Has each job taken the piece? */
static bool is_taken(const Each *each) {
    for (size_t i = 0; i < each->count; i++)
        if (each->jobs[i].in >= 0 && each->jobs[i].in_done < each->piece_size)
            return false;
    return true;
}

static void read_piece(Each *each) {
    ssize_t size = read(STDIN_FILENO, each->piece, INPUT_BYTES);
    if (size < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    each->in_open = size > 0;
    each->piece_size = size > 0 ? (size_t)size : 0;
    for (size_t i = 0; i < each->count; i++) {
        each->jobs[i].in_done = 0;
        if (!each->in_open)
            end_input(&each->jobs[i]);
    }
}

static void give_piece(const Each *each, Job *job) {
    ssize_t size = send(job->in, each->piece + job->in_done, each->piece_size - job->in_done,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size >= 0)
        job->in_done += (size_t)size;
    else if (errno != EAGAIN && errno != EINTR)
        end_input(job); /* it does not read any more */
}

/* ---- the loop ---- */

/* False: all outputs have ended. */
static bool collect(const Each *each, struct pollfd *fds) {
    bool open = false, takes = false;
    for (size_t i = 0; i < each->count; i++) {
        const Job *job = &each->jobs[i];
        bool wants = job->in_done < each->piece_size;
        *fds++ = (struct pollfd){.fd = job->out.fd, .events = POLLIN};
        *fds++ = (struct pollfd){.fd = job->err.fd, .events = POLLIN};
        *fds++ = (struct pollfd){.fd = wants ? job->in : -1, .events = POLLOUT};
        open |= job->out.fd >= 0 || job->err.fd >= 0;
        takes |= job->in >= 0;
    }
    takes &= each->in_open && is_taken(each);
    *fds = (struct pollfd){.fd = takes ? STDIN_FILENO : -1, .events = POLLIN};
    return open;
}

static void serve(Each *each, const struct pollfd *fds) {
    for (size_t i = 0; i < each->count; i++) {
        Job *job = &each->jobs[i];
        if (fds[3 * i].revents)
            read_pipe(job, &job->out, each->width, each->args->json);
        if (fds[3 * i + 1].revents)
            read_pipe(job, &job->err, each->width, false);
        if (fds[3 * i + 2].revents)
            give_piece(each, job);
    }
    if (fds[3 * each->count].revents)
        read_piece(each);
}

static void pass_on_all(Each *each) {
    _cleanup_free_ struct pollfd *fds = calloc(3 * each->count + 1, sizeof(*fds));
    while (fds && collect(each, fds))
        if (poll(fds, 3 * each->count + 1, -1) > 0)
            serve(each, fds);
}

/* ---- commands ---- */

/* --detach of a fork is about the clones. */
static bool exec_has(const VerbOption *option) {
    if (str_equal(option->name, "detach"))
        return false;
    for (const VerbOption *own = verb_exec.options; own->name; own++)
        if (str_equal(own->name, option->name))
            return true;
    return false;
}

static void make_argv(const Args *args, const Job *job, StrList *argv) {
    strlist_add_many(argv, "ramet", "exec", NULL);
    if (args->json)
        strlist_add(argv, "--json");
    for (size_t i = 0; i < args->n_values; i++) {
        const ArgValue *value = &args->values[i];
        if (exec_has(value->option) && value->text)
            strlist_add_format(argv, "--%s=%s", value->option->name, value->text);
        else if (exec_has(value->option))
            strlist_add_format(argv, "--%s", value->option->name);
    }
    strlist_add_many(argv, job->name, "--", NULL);
    for (size_t i = 0; i < args->n_command; i++)
        strlist_add(argv, args->command[i]);
}

static int spawn_job(const Args *args, Job *job, const int ends[3], Error *error) {
    _cleanup_(strlist_free) StrList argv = {0};
    const SpawnFd fds[] = {{ends[1], 1}, {ends[2], 2}, {ends[0], 0}};
    SpawnOptions options = {.program = "/proc/self/exe",
                            .fds = fds,
                            .n_fds = ends[0] < 0 ? 2 : 3,
                            .die_with_parent = true};
    make_argv(args, job, &argv);
    options.argv = argv.items;
    return spawn_process(&options, &job->pid, error);
}

static int start_job(const Args *args, Job *job, Error *error) {
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, r = 0;
    if (args_flag(args, "interactive"))
        r = fd_socketpair(SOCK_STREAM, in);
    if (r == 0 && (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0))
        r = -errno;
    job->in = in[0];
    job->out = (Pipe){.fd = out[0], .to = stdout};
    job->err = (Pipe){.fd = err[0], .to = stderr};
    if (r < 0)
        r = error_set_errno(error, -r, "cannot run the command in %s", job->name);
    else
        r = spawn_job(args, job, (const int[]){in[1], out[1], err[1]}, error);
    (void)fd_close(in[1]);
    (void)fd_close(out[1]);
    (void)fd_close(err[1]);
    return r;
}

static void end_job(Job *job) {
    int status = 0;
    if (job->pid > 0) {
        while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR)
            ;
        job->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    end_input(job);
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

/* "3 of 4 ok; ci-3 exited 3" */
static char *summarize(const Each *each, const json_t *errors) {
    size_t ok = 0, failed = 0, i;
    StrBuf failures = {0};
    const json_t *item;
    char *text = NULL;
    for (i = 0; i < each->count; i++) {
        const Job *job = &each->jobs[i];
        if (job->status == 0)
            ok++;
        else
            strbuf_add_format(&failures, "%s%s exited %d", failed++ ? ", " : "; ", job->name,
                              job->status);
    }
    json_array_foreach((json_t *)errors, i, item) {
        strbuf_add_format(&failures, "%s%s did not get ready", failed++ ? ", " : "; ",
                          json_string_value(json_object_get(item, "name")));
    }
    if (failed > 0)
        text = str_format("%zu of %zu ok%s", ok, ok + failed, failures.data);
    strbuf_free(&failures);
    return text;
}

static void prepare(Each *each, const json_t *vms) {
    for (size_t i = 0; i < each->count; i++) {
        Job *job = &each->jobs[i];
        job->in = job->out.fd = job->err.fd = -1;
        job->name = json_string_value(json_object_get(json_array_get(vms, i), "name"));
        each->width = each->count > 1 ? MAX_OF(each->width, strlen(job->name) + 1) : 0;
    }
}

/* Waits for all of them. Returns the first status that is not 0. */
static int end_all(Each *each, const json_t *vms, json_t *documents) {
    int status = 0;
    for (size_t i = 0; i < each->count; i++) {
        Job *job = &each->jobs[i];
        end_job(job);
        status = status ? status : job->status;
        (void)json_array_append_new(documents, job_document(job, json_array_get(vms, i)));
        strbuf_free(&job->out.line);
        strbuf_free(&job->err.line);
    }
    return status;
}

int fork_each_run(const Args *args, const json_t *vms, const json_t *errors, char **summary,
                  Error *error) {
    size_t count = json_array_size(vms);
    _cleanup_json_ json_t *documents = json_array();
    _cleanup_free_ Job *jobs = calloc(count + 1, sizeof(*jobs));
    _cleanup_free_ char *piece = malloc(INPUT_BYTES);
    Each each = {.args = args, .jobs = jobs, .count = count, .in_open = true, .piece = piece};
    int status, r = 0;
    if (!jobs || !piece)
        return error_set_errno(error, ENOMEM, "cannot run the command");
    prepare(&each, vms);
    for (size_t i = 0; r >= 0 && i < count; i++)
        r = start_job(args, &jobs[i], error);
    pass_on_all(&each);
    status = end_all(&each, vms, documents);
    if (r < 0)
        return r;
    *summary = summarize(&each, errors);
    r = args->json ? output_json(documents, error) : 0;
    return r < 0 ? r : status;
}
