/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: everything is prepared before vfork (user, environment, list of paths to try), so
 * that the child makes system calls only. vfork shares memory until the exec: a failed exec leaves
 * its errno in a variable of ours, and we tell the reason as a shell does. The child calls the
 * kernel directly where a C library would want to tell its other threads (setuid and its like).
 *
 * Every command leads a session and process group of its own, so signals reach all of it. */

#include "agent/session/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>

#include "agent/base/user.h"
#include "agent/freeze/exclusive_cpu.h"
#include "proto/agent.h"
#include "proto/tlv.h"

#define BASE_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define ENV_EXTRA 4 /* PATH, HOME, USER, TERM */

static bool shed_oom_score;

void exec_prepare(void) {
    char score[16];
    shed_oom_score =
        read_text("/proc/self/oom_score_adj", score, sizeof(score)) > 0 && strcmp(score, "0") != 0;
}

void exec_request_free(ExecRequest *request) {
    free(request->text);
    free(request->argv);
    free(request->env);
    *request = (ExecRequest){0};
}

/* Where the next string goes in request->text; all strings together are shorter than the payload.
 */
static int parse_text(const TlvField *field, char **cursor, const char **text) {
    int r = tlv_text(field, *cursor, (size_t)field->size + 1);
    if (r < 0)
        return r;
    *text = *cursor;
    *cursor += field->size + 1;
    return 0;
}

static int parse_word(const TlvField *field, char **cursor, char **words, size_t *n_words) {
    const char *text;
    int r = parse_text(field, cursor, &text);
    if (r == 0)
        words[(*n_words)++] = (char *)text;
    return r;
}

static int parse_u16(const TlvField *field, uint16_t *number) {
    uint64_t value;
    int r = tlv_u64(field, &value);
    if (r == 0)
        *number = (uint16_t)MIN_OF(value, UINT16_MAX);
    return r;
}

static int parse_field(ExecRequest *request, const TlvField *field, char **cursor) {
    uint16_t flag = 0;
    int r;
    switch (field->tag) {
    case TAG_ARG:
        return parse_word(field, cursor, request->argv, &request->n_args);
    case TAG_ENV:
        return parse_word(field, cursor, request->env, &request->n_env);
    case TAG_DIRECTORY:
        return parse_text(field, cursor, &request->directory);
    case TAG_USER:
        return parse_text(field, cursor, &request->user);
    case TAG_TTY:
        r = parse_u16(field, &flag);
        request->tty = flag != 0;
        return r;
    case TAG_FLAGS:
        return tlv_u64(field, &request->flags);
    case TAG_ROWS:
        return parse_u16(field, &request->rows);
    case TAG_COLUMNS:
        return parse_u16(field, &request->columns);
    default:
        return 0;
    }
}

size_t exec_announced(const void *payload, size_t size) {
    TlvReader reader;
    TlvField field;
    uint64_t bytes;
    tlv_read(&reader, payload, size);
    while (tlv_next(&reader, &field) > 0)
        if (field.tag == TAG_REQUEST_BYTES && tlv_u64(&field, &bytes) == 0)
            return (size_t)bytes;
    return 0;
}

static size_t count_fields(const void *payload, size_t size, uint16_t tag) {
    TlvReader reader;
    TlvField field;
    size_t count = 0;
    tlv_read(&reader, payload, size);
    while (tlv_next(&reader, &field) > 0)
        count += field.tag == tag;
    return count;
}

int exec_parse(const void *payload, size_t size, ExecRequest *request, Result *result) {
    ExecRequest made = {.directory = "/", .user = ""};
    TlvReader reader;
    TlvField field;
    int r = 0;
    made.text = malloc(size + 1); /* each field's header of 8 bytes pays for its NUL */
    made.argv = calloc(count_fields(payload, size, TAG_ARG) + 1, sizeof(char *));
    made.env = calloc(count_fields(payload, size, TAG_ENV) + 1 + ENV_EXTRA, sizeof(char *));
    if (!made.text || !made.argv || !made.env)
        r = -ENOMEM;
    char *cursor = made.text;
    tlv_read(&reader, payload, size);
    while (r == 0 && (r = tlv_next(&reader, &field)) > 0)
        r = parse_field(&made, &field, &cursor);
    if (r == 0 && (made.n_args == 0 || made.argv[0][0] == '\0'))
        r = result_say(result, EINVAL, "no command was given");
    if (made.directory && made.directory[0] == '\0')
        made.directory = "/";
    if (r < 0) {
        exec_request_free(&made);
        return result_fail(result, -r, "cannot read the exec request");
    }
    *request = made;
    return 0;
}

/* ---- the child ---- */

typedef struct Child {
    const char *const *paths; /* to try, NULL at the end */
    char **argv;
    char **env;
    const char *directory;
    const User *user;
    int in, out, err;
    bool tty;
    volatile int failed_errno; /* written by the child, through the shared memory */
    volatile bool failed_chdir;
} Child;

static int become_user(const User *user) {
    if (user->uid == geteuid() && user->uid != 0)
        return 0; /* an agent without privilege, in tests */
    if (syscall(SYS_setgroups, user->n_groups, user->groups) < 0 && geteuid() == 0)
        return -1;
    if (syscall(SYS_setresgid, user->gid, user->gid, user->gid) < 0)
        return -1;
    return (int)syscall(SYS_setresuid, user->uid, user->uid, user->uid);
}

static void reset_signals(void) {
    sigset_t none;
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void exec_reset_oom_score(void) {
    int fd = shed_oom_score ? open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    (void)!write(fd, "0", 1);
    (void)close(fd);
}

static int set_up_child(const Child *child) {
    (void)setsid();
    exec_reset_oom_score();
    if (child->tty && ioctl(child->in, TIOCSCTTY, 0) < 0)
        return -1;
    /* The pipes' own numbers are above 2, and close themselves at the exec. */
    if (dup2(child->in, 0) < 0 || dup2(child->out, 1) < 0 || dup2(child->err, 2) < 0)
        return -1;
    (void)umask(022);
    return become_user(child->user);
}

static void try_paths(Child *child) {
    int worst = ENOENT;
    for (const char *const *path = child->paths; *path; path++) {
        (void)execve(*path, child->argv, child->env);
        if (errno != ENOENT && errno != ENOTDIR)
            worst = errno;
        if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
            break;
    }
    child->failed_errno = worst;
}

static void __attribute__((noreturn, noinline)) run_child(Child *child) {
    exclusive_cpu_leave();
    if (set_up_child(child) < 0) {
        child->failed_errno = errno;
    } else if (chdir(child->directory) < 0) {
        child->failed_errno = errno;
        child->failed_chdir = true;
    } else {
        reset_signals();
        try_paths(child);
    }
    _exit(127);
}

static pid_t __attribute__((noinline)) spawn(Child *child) {
    /* NOLINTNEXTLINE(clang-analyzer-security.insecureAPI.vfork): see above */
    pid_t pid = vfork();
    if (pid == 0)
        run_child(child); /* NOLINT(clang-analyzer-unix.Vfork): it only makes system calls */
    return pid;
}

/* ---- what is prepared for it ---- */

static const char *env_value(char *const *env, const char *key) {
    for (; *env; env++)
        if (strncmp(*env, key, strlen(key)) == 0)
            return *env + strlen(key);
    return NULL;
}

static void env_default(ExecRequest *request, size_t *n_env, char *word, const char *key) {
    if (!env_value(request->env, key))
        request->env[(*n_env)++] = word;
    request->env[*n_env] = NULL;
}

#define PATHS_MAX 64

typedef struct Paths {
    char *list[PATHS_MAX + 1];
    char text[PATHS_MAX][512];
} Paths;

/* The files that a command's name may mean. */
static void fill_paths(const char *name, const char *search, Paths *paths) {
    struct stat info;
    size_t n = 0;
    while (!strchr(name, '/') && search && n < PATHS_MAX) {
        size_t length = strcspn(search, ":");
        int r = snprintf(paths->text[n], sizeof(paths->text[n]), "%.*s/%s",
                         (int)(length ? length : 1), length ? search : ".", name);
        /* A failed exec costs more than a look, most of all under emulation. Behind the first that
         * is there, the others are hardly ever tried. */
        bool absent = n == 0 && length > 0 && search[0] == '/' && stat(paths->text[n], &info) < 0;
        if (r > 0 && (size_t)r < sizeof(paths->text[n]) && !absent) {
            paths->list[n] = paths->text[n];
            n++;
        }
        search = search[length] == ':' ? search + length + 1 : NULL;
    }
    if (strchr(name, '/'))
        paths->list[n++] = (char *)name;
    paths->list[n] = NULL;
}

/* The ends that the child gets. */
typedef struct Ends {
    int in, out, err; /* owned */
} Ends;

static void ends_close(Ends *ends) {
    close_fd(&ends->in);
    close_fd(&ends->out);
    close_fd(&ends->err);
}

/* A descriptor above the standard ones: the agent as PID 1 may have none of those open. */
static int raise_fd(int *fd) {
    if (*fd > 2)
        return 0;
    int raised = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
    if (raised < 0)
        return -errno;
    close_fd(fd);
    *fd = raised;
    return 0;
}

static int open_pipe(int *reader, int *writer, bool reader_is_ours) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    *reader = fds[0];
    *writer = fds[1];
    int r = raise_fd(reader);
    if (r == 0)
        r = raise_fd(writer);
    return r < 0 ? r : set_nonblocking(reader_is_ours ? *reader : *writer);
}

static int open_pipes(Stream *stream, Ends *ends) {
    int r = open_pipe(&ends->in, &stream->in_fd, false);
    if (r == 0)
        r = open_pipe(&stream->out_fd, &ends->out, true);
    if (r == 0)
        r = open_pipe(&stream->err_fd, &ends->err, true);
    return r;
}

static int open_raised(const char *path, int flags, int *fd) {
    *fd = open(path, flags | O_NOCTTY | O_CLOEXEC);
    return *fd < 0 ? -errno : raise_fd(fd);
}

/* A log is no terminal whose lines have to begin at its left: what the program prints is kept as it
 * is. */
static void keep_line_ends(int console_fd) {
    struct termios settings;
    if (tcgetattr(console_fd, &settings) < 0)
        return;
    settings.c_oflag &= ~(tcflag_t)ONLCR;
    (void)tcsetattr(console_fd, TCSANOW, &settings);
}

static int open_console(Ends *ends) {
    int r = open_raised("/dev/null", O_RDONLY, &ends->in);
    if (r == 0)
        r = open_raised("/dev/console", O_WRONLY, &ends->out);
    if (r == 0)
        r = open_raised("/dev/console", O_WRONLY, &ends->err);
    if (r == 0)
        keep_line_ends(ends->out);
    return r;
}

void exec_tell_console(const char *text) {
    _cleanup_close_ int fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0)
        (void)!write(fd, text, strlen(text));
}

void exec_resize(const Stream *stream, uint16_t rows, uint16_t columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    int fd = stream->out_fd >= 0 ? stream->out_fd : stream->in_fd;
    if (stream->is_tty && fd >= 0)
        (void)ioctl(fd, TIOCSWINSZ, &size);
}

static int open_tty(Stream *stream, const ExecRequest *request, Ends *ends) {
    int unlock = 0;
    stream->is_tty = true;
    stream->out_fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (stream->out_fd < 0 || raise_fd(&stream->out_fd) < 0 ||
        ioctl(stream->out_fd, TIOCSPTLCK, &unlock) < 0)
        return -errno;
    ends->in = ioctl(stream->out_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (ends->in < 0 || raise_fd(&ends->in) < 0)
        return -errno;
    ends->out = fcntl(ends->in, F_DUPFD_CLOEXEC, 3);
    ends->err = fcntl(ends->in, F_DUPFD_CLOEXEC, 3);
    stream->in_fd = fcntl(stream->out_fd, F_DUPFD_CLOEXEC, 3);
    if (ends->out < 0 || ends->err < 0 || stream->in_fd < 0)
        return -errno;
    exec_resize(stream, request->rows ? request->rows : 24,
                request->columns ? request->columns : 80);
    return 0;
}

/* Servers write their logs to /dev/stdout, which is /proc/self/fd/1: opened anew, and that needs
 * the right to. Devices that all have, such as /dev/null, stay root's. */
static void give_ends(const Ends *ends, const User *user) {
    const int fds[] = {ends->in, ends->out, ends->err};
    struct stat status;
    for (size_t i = 0; user->uid != 0 && i < ARRAY_SIZE(fds); i++)
        if (fstat(fds[i], &status) == 0 && (status.st_mode & S_IWOTH) == 0)
            (void)fchown(fds[i], user->uid, (gid_t)-1);
}

static int open_ends(Stream *stream, const ExecRequest *request, const User *user, Ends *ends) {
    int r = request->tty                    ? open_tty(stream, request, ends)
            : request->flags & EXEC_CONSOLE ? open_console(ends)
                                            : open_pipes(stream, ends);
    if (r == 0)
        give_ends(ends, user);
    return r;
}

static void explain(const Child *child, int *exit_code, char *message, size_t room) {
    int error = child->failed_errno;
    bool missing = error == ENOENT || error == ENOTDIR;
    if (child->failed_chdir) {
        *exit_code = 126;
        (void)snprintf(message, room, "ramet: exec: cannot change to folder %s: %s\n",
                       child->directory, strerror(error));
        return;
    }
    *exit_code = missing ? 127 : 126;
    (void)snprintf(message, room, "ramet: exec: %.200s: %s%s\n", child->argv[0],
                   missing ? "not found" : strerror(error),
                   error == E2BIG
                       ? "; the guest's kernel takes 128 KiB for one and mostly 2 MiB for "
                         "all of them and the environment: pass more on standard input, "
                         "or in a file with ramet cp"
                       : "");
}

int exec_start(Stream *stream, const ExecRequest *request, int *exit_code, char *message,
               size_t message_room, Result *result) {
    _cleanup_(ends_close) Ends ends = {-1, -1, -1};
    static Paths paths;
    User user;
    char home[300], name[80], term[] = "TERM=xterm", path[] = "PATH=" BASE_PATH;
    ExecRequest full = *request; /* the same arrays; the environment has room for what we add */
    int r = user_find(request->user, &user, result);
    if (r < 0)
        return r;
    (void)snprintf(home, sizeof(home), "HOME=%s", user.home);
    (void)snprintf(name, sizeof(name), "USER=%s", user.name);
    env_default(&full, &full.n_env, path, "PATH=");
    env_default(&full, &full.n_env, home, "HOME=");
    env_default(&full, &full.n_env, name, "USER=");
    if (request->tty)
        env_default(&full, &full.n_env, term, "TERM=");
    fill_paths(full.argv[0], env_value(full.env, "PATH="), &paths);

    if (request->flags & EXEC_PROGRAM)
        (void)make_folders(full.directory, 0755); /* chdir(2) tells of what could not be made */
    r = open_ends(stream, request, &user, &ends);
    if (r < 0)
        return result_fail(result, -r, "cannot open a %s", request->tty ? "terminal" : "pipe");

    Child child = {.paths = (const char *const *)paths.list,
                   .argv = full.argv,
                   .env = full.env,
                   .directory = full.directory,
                   .user = &user,
                   .in = ends.in,
                   .out = ends.out,
                   .err = ends.err,
                   .tty = request->tty};
    pid_t pid = spawn(&child);
    if (pid < 0)
        return result_fail(result, errno, "cannot start a process");
    stream->pid = pid;
    stream->is_exec = true;
    *exit_code = -1;
    if (child.failed_errno != 0)
        explain(&child, exit_code, message, message_room);
    return 0;
}

void exec_signal(const Stream *stream, int number) {
    pid_t foreground = 0;
    if (stream->reaped || stream->pid <= 1 || number < 1 || number > 64)
        return;
    /* A shell gives the command in front of its terminal a group of its own. */
    if (stream->is_tty && stream->out_fd >= 0 &&
        ioctl(stream->out_fd, TIOCGPGRP, &foreground) == 0 && foreground > 0 &&
        foreground != stream->pid)
        (void)kill(-foreground, number);
    if (kill(-stream->pid, number) < 0)
        (void)kill(stream->pid, number);
}
