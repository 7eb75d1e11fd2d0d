/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process/spawn.h"

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
#include <pthread.h>
#include <signal.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/process/priority.h"
#include "base/process/spawn.h"
#include "base/str.h"

typedef struct Plan {
    const SpawnOptions *options; /* borrowed */
    char *program;               /* owned */
    SpawnFd *moves;              /* owned */
    size_t n_moves;
    int first_free; /* above all targets */
    int null_fd;    /* owned */
    int priority;
    bool has_priority; /* without doing anything */
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

bool spawn_names_target(const SpawnOptions *options, int to) {
    for (size_t i = 0; i < options->n_fds; i++)
        if (options->fds[i].to == to)
            return true;
    return false;
}

static int plan_moves(Plan *plan) {
    const SpawnOptions *options = plan->options;
    plan->moves = calloc(options->n_fds + 3, sizeof(*plan->moves));
    if (!plan->moves)
        return -ENOMEM;
    plan->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (plan->null_fd < 0)
        return -errno;
    for (int to = 0; to < 3; to++)
        if (!spawn_names_target(options, to))
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
    plan->priority = priority_base() + options->nice;
    plan->has_priority = plan->priority == getpriority(PRIO_PROCESS, 0);
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
    if (!plan->has_priority && setpriority(PRIO_PROCESS, 0, plan->priority) < 0)
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

void spawn_reap(pid_t pid, int *status) {
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
        spawn_reap(child, NULL);
        return error_set_errno(error, plan.failed_errno, "cannot start %s: %s", options->program,
                               plan.failed_step);
    }
    *pid = child;
    return 0;
}
