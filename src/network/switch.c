/* SPDX-License-Identifier: Apache-2.0 */

#include "network/switch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/process/process.h"
#include "base/process/spawn.h"
#include "base/str.h"
#include "home/inside.h"
#include "network/describe_switch.h"
#include "network/switch_watch.h"
#include "proto/switch_client.h"

#define FOLDER "networks"
#define PROGRAM "ramet-switch"
#define BACKLOG 16
#define LOG_MAX_BYTES (1 * MIB)
#define END_TIMEOUT_USEC (30 * USEC_PER_SEC)

/* ---- its files ---- */

typedef struct Names {
    char socket[VM_ID_SIZE + 8];
    char log[VM_ID_SIZE + 8];
} Names;

static Names names_of(const NetworkRow *network) {
    Names names;
    (void)snprintf(names.socket, sizeof(names.socket), "%s.sock", network->id);
    (void)snprintf(names.log, sizeof(names.log), "%s.log", network->id);
    return names;
}

static int open_folder(const Home *home, Error *error) {
    int fd = -1;
    if (mkdirat(home->home_fd, FOLDER, 0700) == 0 || errno == EEXIST)
        fd = openat(home->home_fd, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? error_set_errno(error, errno, "cannot open %s/" FOLDER, home->path) : fd;
}

static int open_log(int folder, const char *name, Error *error) {
    const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(folder, name, flags, 0600);
    struct stat info;
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open the switch's log");
    if (fstat(fd, &info) == 0 && (uint64_t)info.st_size > LOG_MAX_BYTES && ftruncate(fd, 0) < 0)
        log_warning("cannot cut the log of a switch: %s", strerror(errno));
    return fd;
}

/* ---- finding it ---- */

/* Whoever listens. */
static int connect_to_any(int folder, const NetworkRow *network, uint64_t *pid, int *fd) {
    Names names = names_of(network);
    _cleanup_close_ int made = fd_unix_connect_at(folder, names.socket, SOCK_SEQPACKET);
    int r = made < 0 ? made : switch_client_hello(made, pid, NULL);
    if (r < 0)
        return r;
    *fd = TAKE_FD(made);
    return 0;
}

static int connect_to(int folder, const NetworkRow *network, int *fd) {
    _cleanup_close_ int made = -1;
    uint64_t pid = 0;
    int r = connect_to_any(folder, network, &pid, &made);
    if (r < 0)
        return r;
    if (pid != (uint64_t)network->data.process.pid)
        return -ESRCH;
    *fd = TAKE_FD(made);
    return 0;
}

/* A daemon that died may have told it nothing. */
static bool knows_network(int fd) {
    SwitchNetwork known = {.prefix = 0};
    return switch_client_get_network(fd, &known, NULL, NULL, NULL, NULL) >= 0 && known.prefix > 0;
}

int switch_open_running(Home *home, const NetworkRow *network, int *fd) {
    _cleanup_close_ int folder = -1;
    if (network->data.process.pid <= 0)
        return -ENOENT;
    folder = open_folder(home, NULL);
    return folder < 0 || connect_to(folder, network, fd) < 0 ? -ENOENT : 0;
}

/* ---- starting it ---- */

static int end_process(const NetworkRow *network, Error *error) {
    const ProcessIdentity *process = &network->data.process;
    int r = process->pid > 0 ? process_signal(process, SIGKILL) : -ESRCH;
    if (r >= 0)
        r = process_wait_gone(process, clock_monotonic_usec() + END_TIMEOUT_USEC);
    if (r < 0 && r != -ESRCH)
        return error_set_errno(error, -r, "cannot end the switch of network %s (process %d)",
                               network->name, (int)process->pid);
    return 0;
}

/* One that a daemon started, and did not live to write down which process that is. Nobody else
 * listens there. */
static void end_unknown(int folder, const NetworkRow *network) {
    ProcessIdentity process;
    _cleanup_close_ int fd = -1;
    uint64_t pid = 0;
    if (connect_to_any(folder, network, &pid, &fd) < 0 ||
        process_identify((pid_t)pid, &process) < 0 || switch_client_quit(fd, NULL) < 0)
        return;
    (void)process_wait_gone(&process, clock_monotonic_usec() + END_TIMEOUT_USEC);
    log_info("the switch of network %s, which nobody knew of, was ended", network->name);
}

static int spawn(const NetworkRow *network, int listener, int log, pid_t *pid, Error *error) {
    _cleanup_free_ char *program = path_find_sibling(PROGRAM);
    _cleanup_free_ char *user = str_format("%u", network->data.uid);
    _cleanup_free_ char *shown = str_format(PROGRAM "/%s", network->name); /* ps tells whose */
    char *argv[] = {shown,       (char *)"--listen-fd",
                    (char *)"3", network->data.uid ? (char *)"--user" : NULL,
                    user,        NULL};
    const SpawnFd fds[] = {{.from = log, .to = 2}, {.from = listener, .to = 3}};
    const SpawnOptions options = {.program = program,
                                  .argv = argv,
                                  .fds = fds,
                                  .n_fds = ARRAY_SIZE(fds),
                                  .new_session = true};
    if (program)
        return spawn_process(&options, pid, error);
    error_set(error, ERROR_UNSUPPORTED, ENOENT, "there is no " PROGRAM " beside the daemon");
    error_set_hint(error, "install it, or use --network user");
    return -ENOENT;
}

/* It is in the row before anything depends on it. */
static int remember(Home *home, NetworkRow *network, pid_t pid, Error *error) {
    int r = process_identify(pid, &network->data.process);
    if (r < 0)
        return error_set_errno(error, -r, "the switch of network %s ended at once", network->name);
    r = networks_update(home->store, network, error);
    return r < 0 ? r : switch_watch_add(home, network->id, &network->data.process, error);
}

static int start(Home *home, int folder, NetworkRow *network, Error *error) {
    Names names = names_of(network);
    _cleanup_close_ int log = -1, listener = -1;
    pid_t pid;
    int r = end_process(network, error);
    if (r < 0)
        return r;
    end_unknown(folder, network);
    log = open_log(folder, names.log, error);
    if (log < 0)
        return log;
    listener = fd_unix_listen_at(folder, names.socket, SOCK_SEQPACKET, 0600, BACKLOG);
    if (listener < 0)
        return error_set_errno(error, -listener, "cannot listen for the switch");
    r = spawn(network, listener, log, &pid, error);
    return r < 0 ? r : remember(home, network, pid, error);
}

int switch_open(Home *home, NetworkRow *network, int *fd, bool *fresh, Error *error) {
    _cleanup_close_ int folder = open_folder(home, error), made = -1;
    SwitchNetwork settings;
    int r;
    if (folder < 0)
        return folder;
    *fresh = false;
    r = network->data.process.pid > 0 ? connect_to(folder, network, &made) : -ESRCH;
    if (r >= 0 && knows_network(made)) {
        *fd = TAKE_FD(made);
        return 0;
    }
    if (r < 0) {
        r = start(home, folder, network, error);
        if (r >= 0)
            r = connect_to(folder, network, &made);
    }
    if (r >= 0) {
        switch_describe_network(network, &settings);
        r = switch_client_set_network(made, &settings, error);
    } else if (error && error->kind == ERROR_NONE) {
        r = error_set_errno(error, -r, "the switch does not answer");
    }
    if (r < 0)
        return error_add_context(error, "network %s", network->name);
    *fd = TAKE_FD(made);
    *fresh = true;
    return 0;
}

int switch_end(Home *home, const NetworkRow *network, Error *error) {
    _cleanup_close_ int folder = open_folder(home, error);
    Names names = names_of(network);
    int r = end_process(network, error);
    if (folder >= 0) {
        end_unknown(folder, network);
        (void)unlinkat(folder, names.socket, 0);
        (void)unlinkat(folder, names.log, 0);
    }
    return r < 0 ? r : MIN_OF(folder, 0);
}
