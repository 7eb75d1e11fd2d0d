/* SPDX-License-Identifier: Apache-2.0 */
#include "base/spawn.h"

/* How starting works: all that allocates, opens or searches is done before vfork(2), into a Plan.
 * The child runs in the parent's memory while the parent's thread stands still, so it only makes
 * system calls, and reports a failed step simply by writing it to the Plan.
 *
 * Signals are all blocked around it: a handler that ran in the child would change the parent's
 * memory. The child sets every handler to the default before it empties the mask.
 *
 * Descriptors: each is first duplicated above all target numbers, so that no move overwrites what a
 * later one needs. Then everything is marked close-on-exec, and dup2(2), which clears that mark,
 * puts the duplicates in their places. After execve only those are left. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

#define OUT_MAX_BYTES (1 * MIB)
#define ERR_MAX_BYTES (16 * KIB)
#define PIPE_BYTES (64 * KIB) /* pipe(7) */

typedef struct Plan {
    const SpawnOptions *options; /* borrowed */
    char *program;               /* owned */
    SpawnFd *moves;              /* owned */
    size_t n_moves;
    int first_free; /* above all targets */
    int null_fd;    /* owned */
    int priority;
    pid_t parent;
    const char *volatile failed_step; /* written by the child */
    volatile int failed_errno;
} Plan;

static void plan_free(Plan *plan) {
    free(plan->program);
    free(plan->moves);
    fd_close(plan->null_fd);
}

static void plan_add_move(Plan *plan, int from, int to) {
    plan->moves[plan->n_moves++] = (SpawnFd){.from = from < 0 ? plan->null_fd : from, .to = to};
    plan->first_free = MAX_OF(plan->first_free, to + 1);
}

static bool names_target(const SpawnOptions *options, int to) {
    for (size_t i = 0; i < options->n_fds; i++)
        if (options->fds[i].to == to)
            return true;
    return false;
}

static int plan_moves(Plan *plan) {
    const SpawnOptions *options = plan->options;
    plan->moves = calloc(options->n_fds + 3, sizeof *plan->moves);
    if (!plan->moves)
        return -ENOMEM;
    plan->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (plan->null_fd < 0)
        return -errno;
    for (int to = 0; to < 3; to++)
        if (!names_target(options, to))
            plan_add_move(plan, -1, to);
    for (size_t i = 0; i < options->n_fds; i++)
        plan_add_move(plan, options->fds[i].from, options->fds[i].to);
    return 0;
}

static int plan_make(Plan *plan, Error *error) {
    const SpawnOptions *options = plan->options;
    plan->program = path_find_program(options->program);
    if (!plan->program)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no program %s",
                         options->program);
    plan->parent = getpid();
    plan->priority = getpriority(PRIO_PROCESS, 0) + options->nice;
    int r = plan_moves(plan);
    return r < 0 ? error_set_errno(error, -r, "cannot prepare %s", options->program) : 0;
}

/* From here on to child_main: in the child, on the parent's memory. */

static noreturn void child_fail(Plan *plan, const char *step) {
    plan->failed_errno = errno;
    plan->failed_step = step;
    _exit(127);
}

static void child_reset_signals(void) {
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++)
        (void)sigaction(number, &standard, NULL); /* fails for SIGKILL and the like */
}

static void child_move_fds(Plan *plan) {
    for (size_t i = 0; i < plan->n_moves; i++) {
        int copy = fcntl(plan->moves[i].from, F_DUPFD_CLOEXEC, plan->first_free);
        if (copy < 0)
            child_fail(plan, "cannot duplicate a descriptor");
        plan->moves[i].from = copy;
    }
    if (close_range(0, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        child_fail(plan, "cannot mark descriptors close-on-exec");
    for (size_t i = 0; i < plan->n_moves; i++)
        if (dup2(plan->moves[i].from, plan->moves[i].to) < 0)
            child_fail(plan, "cannot place a descriptor");
}

static noreturn void child_main(Plan *plan) {
    const SpawnOptions *options = plan->options;
    child_reset_signals();
    if (options->die_with_parent && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        child_fail(plan, "cannot set the parent-death signal");
    if (options->die_with_parent && getppid() != plan->parent)
        _exit(127); /* it died before the signal was set */
    if (options->new_session && setsid() < 0)
        child_fail(plan, "cannot begin a session");
    if (options->nice != 0 && setpriority(PRIO_PROCESS, 0, plan->priority) < 0)
        child_fail(plan, "cannot set the priority");
    child_move_fds(plan);
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    execve(plan->program, options->argv, options->environment ? options->environment : environ);
    child_fail(plan, "cannot execute it");
}

/* posix_spawn(3) is vfork too, but has no parent-death signal; fork would copy the page tables of a
 * process that may hold much memory. */
static pid_t start_child(Plan *plan) {
    /* NOLINTNEXTLINE(clang-analyzer-security.insecureAPI.vfork): see above */
    pid_t pid = vfork();
    if (pid == 0)
        child_main(plan); /* NOLINT(clang-analyzer-unix.Vfork): it only makes system calls */
    return pid;
}

static pid_t start_child_guarded(Plan *plan) {
    sigset_t all, old;
    int cancel_state;
    sigfillset(&all);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    pid_t pid = start_child(plan);
    int saved_errno = errno;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_setcancelstate(cancel_state, NULL);
    errno = saved_errno;
    return pid;
}

static void reap(pid_t pid, int *status) {
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        ;
}

int spawn_process(const SpawnOptions *options, pid_t *pid, Error *error) {
    _cleanup_(plan_free) Plan plan = {.options = options, .null_fd = -1, .first_free = 3};
    int r = plan_make(&plan, error);
    if (r < 0)
        return r;
    pid_t child = start_child_guarded(&plan);
    if (child < 0)
        return error_set_errno(error, errno, "cannot start %s", options->program);
    if (plan.failed_step) {
        reap(child, NULL);
        return error_set_errno(error, plan.failed_errno, "cannot start %s: %s", options->program,
                               plan.failed_step);
    }
    *pid = child;
    return 0;
}

void spawn_output_free(SpawnOutput *output) {
    free(output->out);
    free(output->err);
    *output = (SpawnOutput){0};
}

/* A tool that spawn_run runs. */
typedef struct Tool {
    const SpawnOptions *options; /* borrowed */
    pid_t pid;
    int pid_fd;      /* owned */
    int pipes[2];    /* owned: the read ends of its stdout and stderr; -1 after their end */
    StrBuf texts[2]; /* owned: what came from them */
} Tool;

static void tool_free(Tool *tool) {
    fd_close(tool->pid_fd);
    for (int i = 0; i < 2; i++) {
        fd_close(tool->pipes[i]);
        strbuf_free(&tool->texts[i]);
    }
}

static int pidfd_open_process(pid_t pid) {
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : fd;
}

static int pidfd_signal(int pid_fd, int number) {
    return syscall(SYS_pidfd_send_signal, pid_fd, number, NULL, 0) < 0 ? -errno : 0;
}

/* Starts it with `ends`, the write ends of the pipes, as stdout and stderr, unless the caller gave
 * it others. */
static int tool_spawn(Tool *tool, const int ends[2], Error *error) {
    SpawnOptions options = *tool->options;
    _cleanup_free_ SpawnFd *fds = calloc(options.n_fds + 2, sizeof *fds);
    if (!fds)
        abort();
    for (size_t i = 0; i < options.n_fds; i++)
        fds[i] = options.fds[i];
    options.fds = fds;
    for (int i = 0; i < 2; i++)
        if (!names_target(tool->options, i + 1))
            fds[options.n_fds++] = (SpawnFd){.from = ends[i], .to = i + 1};
    return spawn_process(&options, &tool->pid, error);
}

static int make_pipe(int *read_end, int *write_end) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *read_end = ends[0];
    *write_end = ends[1];
    return fd_set_nonblocking(ends[0], true);
}

static int tool_start(Tool *tool, Error *error) {
    _cleanup_close_ int out = -1;
    _cleanup_close_ int err = -1;
    int r = make_pipe(&tool->pipes[0], &out);
    if (r == 0)
        r = make_pipe(&tool->pipes[1], &err);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make a pipe");
    r = tool_spawn(tool, (int[2]){out, err}, error);
    if (r < 0)
        return r;
    tool->pid_fd = pidfd_open_process(tool->pid);
    if (tool->pid_fd >= 0)
        return 0;
    r = tool->pid_fd;
    (void)kill(tool->pid, SIGKILL);
    reap(tool->pid, NULL);
    return error_set_errno(error, -r, "cannot watch %s", tool->options->program);
}

static void kill_tool(const Tool *tool) {
    if (tool->options->new_session)
        (void)kill(-tool->pid, SIGKILL);
    (void)pidfd_signal(tool->pid_fd, SIGKILL);
    reap(tool->pid, NULL);
}

/* Of stdout the start is kept, of stderr the end, since there the reason of a failure is. */
static void keep_text(Tool *tool, int i, const char *data, size_t size) {
    StrBuf *text = &tool->texts[i];
    if (i == 0)
        size = MIN_OF(size, OUT_MAX_BYTES - text->size);
    strbuf_add(text, data, size);
    if (i == 1 && text->size > ERR_MAX_BYTES) {
        memmove(text->data, text->data + text->size - ERR_MAX_BYTES, ERR_MAX_BYTES + 1);
        text->size = ERR_MAX_BYTES;
    }
}

/* Reads what the pipe holds now, but no more than a pipe can hold: a tool that writes as fast as
 * this reads must not keep us from the deadline. At its end the pipe is closed. */
static void read_pipe(Tool *tool, int i) {
    char data[8192];
    for (size_t total = 0; tool->pipes[i] >= 0 && total < PIPE_BYTES;) {
        ssize_t got = read(tool->pipes[i], data, sizeof data);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            tool->pipes[i] = fd_close(tool->pipes[i]);
            return;
        }
        keep_text(tool, i, data, (size_t)got);
        total += (size_t)got;
    }
}

/* Reads its output until it exits. Its pipes may stay open in a child of its own: they are read to
 * what they hold by then. 0, or why it must be killed. */
static int tool_watch(Tool *tool, uint64_t deadline_usec, int cancel_fd) {
    for (;;) {
        struct pollfd items[] = {{.fd = tool->pid_fd, .events = POLLIN},
                                 {.fd = cancel_fd, .events = POLLIN | POLLHUP | POLLRDHUP},
                                 {.fd = tool->pipes[0], .events = POLLIN},
                                 {.fd = tool->pipes[1], .events = POLLIN}};
        int n = poll(items, ARRAY_SIZE(items), clock_poll_timeout(deadline_usec));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n < 0)
            continue;
        read_pipe(tool, 0);
        read_pipe(tool, 1);
        if (items[0].revents)
            return 0;
        if (items[1].revents)
            return -ECANCELED;
        if (clock_poll_timeout(deadline_usec) == 0)
            return -ETIMEDOUT;
    }
}

static int killed_error(const Tool *tool, int r, uint64_t timeout_usec, Error *error) {
    const char *program = tool->options->program;
    if (r == -ECANCELED)
        return error_set(error, ERROR_CANCELLED, 0, "%s was stopped", program);
    if (r != -ETIMEDOUT)
        return error_set_errno(error, -r, "cannot wait for %s", program);
    _cleanup_free_ char *bound = format_duration(timeout_usec);
    return error_set(error, ERROR_TIMEOUT, 0, "%s did not end within %s", program, bound);
}

/* The last line that is not empty. */
static char *last_line(const StrBuf *text) {
    size_t end = text->size;
    while (end > 0 && strchr("\r\n\t ", text->data[end - 1]))
        end--;
    size_t start = end;
    while (start > 0 && text->data[start - 1] != '\n')
        start--;
    return str_sanitize(text->data ? text->data + start : "", end - start);
}

static int status_error(const Tool *tool, int status, Error *error) {
    const char *program = tool->options->program;
    _cleanup_free_ char *line = last_line(&tool->texts[1]);
    const char *colon = *line ? ": " : "";
    if (WIFSIGNALED(status))
        return error_set(error, ERROR_FAILED, 0, "%s was killed by signal %d%s%s", program,
                         WTERMSIG(status), colon, line);
    if (WEXITSTATUS(status) != 0)
        return error_set(error, ERROR_FAILED, 0, "%s failed with status %d%s%s", program,
                         WEXITSTATUS(status), colon, line);
    return 0;
}

static void fill_output(Tool *tool, int status, SpawnOutput *output) {
    size_t out_size = tool->texts[0].size, err_size = tool->texts[1].size;
    *output = (SpawnOutput){.status = status,
                            .out = strbuf_take(&tool->texts[0]),
                            .out_size = out_size,
                            .err = strbuf_take(&tool->texts[1]),
                            .err_size = err_size};
}

int spawn_run(const SpawnOptions *options, uint64_t timeout_usec, int cancel_fd,
              SpawnOutput *output, Error *error) {
    _cleanup_(tool_free) Tool tool = {.options = options, .pid_fd = -1, .pipes = {-1, -1}};
    uint64_t deadline;
    if (__builtin_add_overflow(clock_monotonic_usec(), timeout_usec, &deadline))
        deadline = UINT64_MAX;
    int r = tool_start(&tool, error);
    if (r < 0)
        return r;
    r = tool_watch(&tool, deadline, cancel_fd);
    if (r < 0) {
        kill_tool(&tool);
        return killed_error(&tool, r, timeout_usec, error);
    }
    int status = 0;
    reap(tool.pid, &status);
    r = status_error(&tool, status, error);
    if (output)
        fill_output(&tool, status, output);
    return r;
}

/* Field 22 of /proc/PID/stat. Field 2, the name, may itself hold spaces and parentheses, so fields
 * are counted from the last ')' on: field 3 comes first after it. */
static int parse_start_ticks(const char *stat, uint64_t *ticks) {
    const char *next = strrchr(stat, ')');
    for (int field = 2; next && field < 22; field++)
        next = strchr(next + 1, ' ');
    if (!next)
        return -EBADMSG;
    _cleanup_free_ char *digits = str_format("%.*s", (int)strspn(next + 1, "0123456789"), next + 1);
    return parse_u64(digits, UINT64_MAX, ticks);
}

int process_identify(pid_t pid, ProcessIdentity *identity) {
    if (pid <= 0)
        return -ESRCH;
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    _cleanup_free_ char *stat = NULL;
    int r = fd_read_file_at(AT_FDCWD, path, 16 * KIB, &stat, NULL);
    if (r < 0)
        return r == -ENOENT ? -ESRCH : r;
    ProcessIdentity found = {.pid = pid};
    r = parse_start_ticks(stat, &found.start_ticks);
    if (r < 0)
        return r;
    *identity = found;
    return 0;
}

/* A pidfd becomes readable when the process exits, also before it is reaped. */
static int wait_exit(int pid_fd, uint64_t deadline_usec) {
    struct pollfd item = {.fd = pid_fd, .events = POLLIN};
    for (;;) {
        int n = poll(&item, 1, clock_poll_timeout(deadline_usec));
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0 && clock_poll_timeout(deadline_usec) == 0)
            return -ETIMEDOUT;
    }
}

/* The pidfd is taken first: once it is held and the start time fits, it is the right process, also
 * if it exits and its number is used again in between. */
int process_open(const ProcessIdentity *identity) {
    if (identity->pid <= 0)
        return -ESRCH;
    _cleanup_close_ int fd = pidfd_open_process(identity->pid);
    if (fd < 0)
        return fd == -EINVAL ? -ESRCH : fd; /* EINVAL: now the number of a thread */
    ProcessIdentity now;
    int r = process_identify(identity->pid, &now);
    if (r < 0)
        return r;
    if (now.start_ticks != identity->start_ticks || wait_exit(fd, 0) == 0)
        return -ESRCH;
    return TAKE_FD(fd);
}

int process_signal(const ProcessIdentity *identity, int signal) {
    _cleanup_close_ int fd = process_open(identity);
    return fd < 0 ? fd : pidfd_signal(fd, signal);
}

int process_wait_gone(const ProcessIdentity *identity, uint64_t deadline_usec) {
    _cleanup_close_ int fd = process_open(identity);
    if (fd < 0)
        return fd == -ESRCH ? 0 : fd;
    return wait_exit(fd, deadline_usec);
}
