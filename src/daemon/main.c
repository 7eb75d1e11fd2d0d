/* SPDX-License-Identifier: Apache-2.0 */
/* rametd: opens the home, listens, makes the store and the world agree, serves, and ends on
 * SIGTERM, SIGINT or a client's wish. VMs do not end with it.
 *
 * The lock on locks/daemon.lock, taken by home_open and held for life, keeps a home to one daemon.
 * A daemon that is about to end holds it for a while after it stopped listening; a new one waits
 * for that, and gives up at once when the holder serves. */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/path.h"
#include "base/process/priority.h"
#include "base/str.h"
#include "daemon/listen.h"
#include "daemon/own_socket.h"
#include "daemon/server.h"
#include "frozen/hot_memory.h"
#include "lab/lab_remove.h"
#include "lab/lab_warm.h"
#include "machine/refresh.h"
#include "network/hold.h"
#include "network/revive.h"
#include "proto/daemon_options.h"
#include "proto/paths.h"
#include "run/watcher.h"
#include "tend/tend.h"
#include "verbs/reconcile.h"

#define OTHER_DAEMON_WAIT_USEC (60 * USEC_PER_SEC)
#define RECONCILE_WAIT_USEC (5 * USEC_PER_SEC)
#define STOP_WAIT_USEC (30 * USEC_PER_SEC)
#define LOG_FILE_MAX (4 * MIB)
#define OPEN_FILES_WANTED 65536
#define DAEMON_NICE (-10)

typedef struct Options {
    char *home;   /* owned */
    char *socket; /* owned */
    int ready_fd; /* owned: gets a byte once clients can connect; -1: none */
    Passed passed;
} Options;

static void print_help(void) {
    fputs("Usage: rametd [OPTION...]\n\n"
          "Keeps images and VMs and serves ramet's API on a unix socket. See rametd(8).\n\n",
          stdout);
    for (size_t i = 0; i < DAEMON_OPTION_COUNT; i++) {
        const DaemonWord *word = &daemon_options[i];
        printf("  --%s%s%s\n        %s\n", word->name, word->value ? " " : "",
               word->value ? word->value : "", word->help);
    }
    fputs("\nEnvironment:\n", stdout);
    for (const DaemonWord *word = daemon_variables; word->name; word++)
        printf("  %s\n        %s\n", word->name, word->help);
}

static int parse_ready_fd(const char *text, int *ready_fd) {
    uint64_t fd;
    if (parse_u64(text, INT32_MAX, &fd) < 0 || fd <= STDERR_FILENO ||
        fd_set_cloexec((int)fd, true) < 0) {
        fprintf(stderr, "rametd: --ready-fd %s: no such descriptor\n", text);
        return -EINVAL;
    }
    *ready_fd = (int)fd;
    return 0;
}

/* Options become environment: the rules of proto/paths.h hold for them too (a home given here moves
 * the socket with it). Returns 1 when the program is done, 0 to go on. */
static int parse_options(int argc, char **argv, Options *given) {
    struct option options[DAEMON_OPTION_COUNT + 1] = {0};
    int option;
    for (int i = 0; i < DAEMON_OPTION_COUNT; i++)
        options[i] =
            (struct option){daemon_options[i].name,
                            daemon_options[i].value ? required_argument : no_argument, NULL, i};
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case DAEMON_HOME:
            (void)setenv("RAMET_HOME", optarg, 1);
            break;
        case DAEMON_SOCKET:
            (void)setenv("RAMET_SOCKET", optarg, 1);
            break;
        case DAEMON_READY_FD:
            if (parse_ready_fd(optarg, &given->ready_fd) < 0)
                return -EINVAL;
            break;
        case DAEMON_VERSION:
            puts("rametd " RAMET_VERSION);
            return 1;
        case DAEMON_HELP:
            print_help();
            return 1;
        default:
            return -EINVAL;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "rametd: unexpected argument \"%s\"\n", argv[optind]);
        return -EINVAL;
    }
    return 0;
}

/* One arena more than the main one keeps what many short-lived threads leave behind small. */
static void set_limits(void) {
    struct rlimit limit;
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < OPEN_FILES_WANTED) {
        limit.rlim_cur = MIN_OF(limit.rlim_max, (rlim_t)OPEN_FILES_WANTED);
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* A log file that standard error was sent to (as the client does when it starts us) begins anew
 * when it has grown large. */
static void bound_log_file(void) {
    struct stat st;
    if (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode) &&
        (uint64_t)st.st_size > LOG_FILE_MAX && ftruncate(STDERR_FILENO, 0) < 0)
        log_warning("cannot shorten the log: %s", strerror(errno));
}

/* Signals come by descriptor; threads inherit the mask. */
static int block_signals(void) {
    sigset_t set;
    (void)signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* The process that listens at the socket; 0 when nobody does. */
static pid_t find_server(const char *socket_path) {
    _cleanup_close_ int fd = fd_unix_connect(socket_path, SOCK_STREAM);
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
        return 0;
    return credentials.pid;
}

/* Where another daemon of this home serves: at our socket, or at one that we were not told of.
 * NULL: nowhere, or it cannot be found. */
static char *find_other_daemon(const Options *options, pid_t *pid) {
    _cleanup_free_ char *noted = own_socket_find(options->home);
    const char *const places[] = {options->socket, noted};
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        *pid = places[i] ? find_server(places[i]) : 0;
        if (*pid != 0)
            return str_copy(places[i]);
    }
    return NULL;
}

/* Waits until the lock is free: 0; or its holder turns out to serve: the error says where. */
static int wait_for_other_daemon(const Options *options, Error *error) {
    _cleanup_free_ char *locks = path_join(options->home, "locks");
    uint64_t end_usec = clock_monotonic_usec() + OTHER_DAEMON_WAIT_USEC;
    while (clock_monotonic_usec() < end_usec) {
        _cleanup_close_ int lock = -1;
        pid_t pid;
        _cleanup_free_ char *place = find_other_daemon(options, &pid);
        if (place) {
            error_set_hint(error, "process %d serves it at %s", (int)pid, place);
            return -error->errnum;
        }
        if (lock_acquire(locks, "daemon", clock_monotonic_usec() + USEC_PER_SEC, -1, &lock, NULL) ==
            0)
            return 0;
    }
    error_set_hint(error, "it does not serve, and does not end: see who has %s/daemon.lock open",
                   locks);
    return -error->errnum;
}

/* The home, and what works in it. */
static int open_all(const HomeOptions *options, Home **home, Error *error) {
    int r = home_open(options, home, error);
    if (r < 0)
        return r;
    hot_memory_start(*home);
    r = watcher_start(*home, vm_refresh_later, error);
    if (r >= 0)
        r = network_attach_start(*home, error);
    if (r >= 0)
        network_holds_recover(*home);
    if (r < 0)
        *home = home_close(*home);
    return r;
}

static int open_home(const Options *options, Home **home, Error *error) {
    HomeOptions settings = {.path = options->home};
    int r = open_all(&settings, home, error);
    /* under socket activation systemd itself serves: no holder but us to ask */
    if (r == 0 || error->kind != ERROR_CONFLICT || options->passed.socket_fd >= 0)
        return r;
    r = wait_for_other_daemon(options, error);
    return r < 0 ? r : open_all(&settings, home, error);
}

static void wait_for_end(int signal_fd, int stop_fd, OwnSocket *own) {
    struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN},
                           {.fd = stop_fd, .events = POLLIN},
                           {.fd = own->watch_fd, .events = POLLIN}};
    struct signalfd_siginfo info;
    for (;;) {
        if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
            return;
        if (fds[1].revents) {
            log_info("ending, as a client asked");
            return;
        }
        if (fds[2].revents && !own_socket_is_there(own)) {
            log_info("ending, since %s was removed: nobody can ask", own->path);
            return;
        }
        if (!(fds[0].revents & POLLIN) || read(signal_fd, &info, sizeof(info)) != sizeof(info))
            continue;
        if (info.ssi_signo != SIGHUP) { /* the terminal that started us may go */
            log_info("ending, on %s", strsignal((int)info.ssi_signo));
            return;
        }
    }
}

/* Tells who started us that a connection will be served. */
static void tell_ready(Options *options) {
    if (options->ready_fd >= 0)
        (void)fd_write_full(options->ready_fd, "", 1);
    options->ready_fd = fd_close(options->ready_fd);
}

static void adopt_hot_memory(const Passed *passed, Home *home) {
    for (int i = 0; i < passed->count; i++)
        if (listen_is_memory(passed->names[i]))
            hot_memory_adopt(home, passed->names[i], SD_LISTEN_FDS_START + i);
}

/* Serves until the end. */
static int serve(Options *options, Home *home, int signal_fd, Error *error) {
    _cleanup_close_ int stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), listen_fd = -1;
    Server *server;
    OwnSocket own;
    bool made = false;
    int r;
    if (stop_fd < 0)
        return error_set_errno(error, errno, "cannot make an eventfd");
    r = listen_open(options->socket, &options->passed, &listen_fd, &made, error);
    if (r < 0)
        return r;
    own_socket_begin(&own, options->home, options->socket, made);
    /* clients may connect already; they wait in the backlog while we look around, for a moment */
    tell_ready(options);
    lab_warm_register(home);
    home_reconcile_begin(home);
    home_reconcile_later(home);
    labs_reconcile_later(home);
    tend_start(home);
    home_await_reconciled(home, RECONCILE_WAIT_USEC);
    ServerOptions server_options = {.home = home, .listen_fd = listen_fd, .stop_fd = stop_fd};
    r = server_start(&server_options, &server, error);
    if (r == 0) {
        (void)TAKE_FD(listen_fd);
        log_info("serving %s at %s", options->home, options->socket);
        (void)sd_notify(0, "READY=1");
        wait_for_end(signal_fd, stop_fd, &own);
        (void)sd_notify(0, "STOPPING=1");
    }
    /* before the requests have ended: who comes now starts a new daemon, which waits for our lock
     */
    own_socket_end(&own);
    if (r == 0 && server_stop(server, STOP_WAIT_USEC) < 0) {
        log_warning("requests will not end: ending with them");
        _exit(0); /* as after a kill: the next start tidies up */
    }
    return r;
}

static int fail(const Error *error) {
    log_error("%s", error_message(error));
    if (error->hint)
        log_error("hint: %s", error->hint);
    return error_kind_exit_status(error->kind);
}

/* Those who wait for a VM wait for the daemon, and it has little to do for each. */
static void go_before_guests(void) {
    int r = priority_may_raise() ? priority_set_own(DAEMON_NICE) : 0;
    if (r < 0)
        log_debug("cannot set the daemon's priority: %s", strerror(-r));
}

static int run(Options *options) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_close_ int signal_fd = block_signals();
    Home *home;
    int r = open_home(options, &home, &error);
    if (r < 0)
        return fail(&error);
    adopt_hot_memory(&options->passed, home);
    r = serve(options, home, signal_fd, &error);
    (void)home_close(home);
    return r < 0 ? fail(&error) : 0;
}

int main(int argc, char **argv) {
    _cleanup_error_ Error error = ERROR_INIT;
    Options options = {.ready_fd = -1};
    int r;
    if (fd_open_standard() < 0)
        return 1;
    r = parse_options(argc, argv, &options);
    if (r != 0)
        return r < 0 ? 2 : 0;
    log_init("rametd", LOG_LEVEL_INFO);
    path_add_system_folders();
    (void)umask(022);
    set_limits();
    go_before_guests();
    bound_log_file();
    r = paths_home(&options.home, &error);
    if (r == 0)
        r = paths_socket(&options.socket, &error);
    if (r == 0)
        r = listen_adopt_passed(&options.passed, &error);
    r = r < 0 ? fail(&error) : run(&options);
    options.ready_fd = fd_close(options.ready_fd);
    free(options.home);
    free(options.socket);
    for (int i = 0; i < options.passed.count; i++)
        free(options.passed.names[i]);
    free(options.passed.names);
    return r;
}
