/* SPDX-License-Identifier: Apache-2.0 */
#include "zygote/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/process/priority.h"
#include "base/str.h"
#include "zygote/protocol.h"

#define ANSWER_USEC (30 * USEC_PER_SEC)
#define NICE (-10) /* somebody waits for what it does */

struct Zygote {
    char *library; /* owned */
    pthread_mutex_t mutex;
    pid_t pid;          /* 0: none runs */
    int socket;         /* owned */
    bool ready;         /* it has said so */
    struct stat binary; /* what it was started from, or what could not be */
    char *failure;      /* owned: why that binary cannot be one; NULL: it can, for all we know */
    bool quiet;         /* the failure is not logged */
};

Zygote *zygote_new(const char *library) {
    Zygote *zygote = calloc(1, sizeof(*zygote));
    if (!zygote)
        abort();
    zygote->library = library ? str_copy(library) : NULL;
    zygote->socket = -1;
    (void)pthread_mutex_init(&zygote->mutex, NULL);
    return zygote;
}

/* The end of its socket ends it; a kill only makes sure. Its children are not its own to end. */
static void end(Zygote *zygote) {
    if (zygote->pid == 0)
        return;
    zygote->socket = fd_close(zygote->socket);
    (void)kill(zygote->pid, SIGKILL);
    while (waitpid(zygote->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    zygote->pid = 0;
    zygote->ready = false;
}

void zygote_free(Zygote *zygote) {
    if (!zygote)
        return;
    end(zygote);
    (void)pthread_mutex_destroy(&zygote->mutex);
    free(zygote->library);
    free(zygote->failure);
    free(zygote);
}

static void give_up(Zygote *zygote, const char *why) {
    end(zygote);
    zygote->failure = str_copy(why);
    if (!zygote->quiet)
        log_warning("QEMU is started the slow way, without a zygote: %s", why);
}

/* Starting */

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* A script's interpreter would stand still in its place. */
static bool is_elf(const char *path) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    char magic[4];
    return fd >= 0 && fd_read_full(fd, magic, sizeof(magic)) == sizeof(magic) &&
           memcmp(magic, "\177ELF", sizeof(magic)) == 0;
}

static int spawn(Zygote *zygote, const char *binary, int socket, Error *error) {
    char *argv[] = {(char *)binary, (char *)ZYGOTE_OPTION, NULL};
    StrList environment = {0};
    _cleanup_close_ int library = open(zygote->library, O_RDONLY | O_CLOEXEC);
    SpawnFd fds[] = {{.from = socket, .to = ZYGOTE_FD},
                     {.from = library, .to = ZYGOTE_LIBRARY_FD},
                     {.from = 2, .to = 2}};
    SpawnOptions options = {.program = binary,
                            .argv = argv,
                            .fds = fds,
                            .n_fds = ARRAY_SIZE(fds),
                            .new_session = true,
                            .nice = priority_may_raise() ? NICE : 0};
    if (library < 0)
        return error_set_errno(error, errno, "cannot open %s", zygote->library);
    for (char **entry = environ; *entry; entry++)
        strlist_add(&environment, *entry);
    strlist_add_format(&environment, "LD_PRELOAD=/proc/self/fd/%d", ZYGOTE_LIBRARY_FD);
    options.environment = environment.items;
    int r = spawn_process(&options, &zygote->pid, error);
    strlist_free(&environment);
    if (r == 0 && priority_may_raise())
        (void)priority_set_session(zygote->pid, NICE);
    return r;
}

static void begin(Zygote *zygote, const char *binary) {
    _cleanup_error_ Error error = ERROR_INIT;
    int pair[2];
    if (getenv("LD_PRELOAD"))
        return give_up(zygote, "LD_PRELOAD is set");
    if (!is_elf(binary))
        return give_up(zygote, "the binary is no ELF file");
    int r = fd_socketpair(SOCK_SEQPACKET, pair);
    if (r < 0)
        return give_up(zygote, strerror(-r));
    zygote->socket = pair[0];
    r = spawn(zygote, binary, pair[1], &error);
    (void)fd_close(pair[1]);
    if (r < 0) {
        zygote->pid = 0;
        zygote->socket = fd_close(zygote->socket);
        give_up(zygote, error_message(&error));
    }
}

/* 1: an answer of that size, with *fd, the caller's, or -1; 0: the other end is gone or does not
 * speak in time. */
static int receive(int socket, void *answer, size_t wanted, int *fd) {
    uint64_t deadline = clock_monotonic_usec() + ANSWER_USEC;
    struct pollfd item = {.fd = socket, .events = POLLIN};
    size_t n_fds = 1;
    int n;
    *fd = -1;
    do
        n = poll(&item, 1, clock_poll_timeout(deadline));
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return 0;
    ssize_t size = fd_receive_message(socket, answer, wanted, fd, &n_fds);
    if (size == (ssize_t)wanted)
        return 1;
    *fd = size < 0 ? -1 : fd_close(*fd);
    return 0;
}

static void await_ready(Zygote *zygote) {
    _cleanup_close_ int none = -1;
    ZygoteAnswer answer;
    if (!receive(zygote->socket, &answer, sizeof(answer), &none))
        give_up(zygote, "it cannot be stopped before its first line (statically linked?)");
    else if (answer.error)
        give_up(zygote, strerror(answer.error));
    else
        zygote->ready = true;
}

/* Whether one runs, of the file as it is now. A file that failed is not tried again. */
static bool is_begun(Zygote *zygote, const char *binary) {
    struct stat now;
    if (!zygote->library || stat(binary, &now) < 0)
        return false;
    if (!same_file(&now, &zygote->binary)) {
        end(zygote);
        free(zygote->failure);
        zygote->failure = NULL;
        zygote->binary = now;
    }
    if (zygote->pid == 0 && !zygote->failure)
        begin(zygote, binary);
    return zygote->pid != 0;
}

static bool is_ready(Zygote *zygote, const char *binary) {
    if (is_begun(zygote, binary) && !zygote->ready)
        await_ready(zygote);
    return zygote->ready;
}

void zygote_prepare(Zygote *zygote, const char *binary) {
    (void)pthread_mutex_lock(&zygote->mutex);
    (void)is_begun(zygote, binary);
    (void)pthread_mutex_unlock(&zygote->mutex);
}

char *zygote_try(const char *library, const char *binary) {
    Zygote *zygote = zygote_new(library);
    zygote->quiet = true;
    char *why = is_ready(zygote, binary) ? NULL
                : zygote->failure        ? str_copy(zygote->failure)
                                         : str_copy("there is no such program");
    zygote_free(zygote);
    return why;
}

/* Asking */

/* 1: it has the request; 0: it was gone. */
static int ask(Zygote *zygote, const char *keeper, const int fds[2]) {
    ssize_t sent = fd_send_message(zygote->socket, keeper, strlen(keeper) + 1, fds, 2);
    if (sent >= 0)
        return 1;
    log_warning("the zygote of QEMU has ended");
    end(zygote);
    return 0;
}

static int spawn_keeper(Zygote *zygote, const char *keeper, const int fds[2],
                        ProcessIdentity *identity, pid_t *qemu, Error *error) {
    _cleanup_close_ int pid_fd = -1;
    ZygoteAnswer answer;
    int r = ask(zygote, keeper, fds);
    if (r == 0)
        return 0;
    if (!receive(zygote->socket, &answer, sizeof(answer), &pid_fd)) {
        end(zygote); /* a keeper that it made meanwhile ends with it */
        return error_set(error, ERROR_FAILED, ECONNRESET, "the zygote of QEMU ended in its work");
    }
    if (answer.error)
        return error_set_errno(error, answer.error, "cannot start %s", keeper);
    r = pid_fd < 0 ? -EPROTO : process_identify_held(pid_fd, answer.pid, identity);
    if (r < 0)
        return error_set_errno(error, -r, "cannot identify the keeper");
    *qemu = answer.qemu;
    return 1;
}

int zygote_spawn_keeper(Zygote *zygote, const char *binary, const char *keeper, int log_fd,
                        int listener_fd, ProcessIdentity *identity, pid_t *qemu, Error *error) {
    const int fds[] = {log_fd, listener_fd};
    int r = 0;
    (void)pthread_mutex_lock(&zygote->mutex);
    for (int i = 0; i < 2 && r == 0 && is_ready(zygote, binary); i++)
        r = spawn_keeper(zygote, keeper, fds, identity, qemu, error);
    (void)pthread_mutex_unlock(&zygote->mutex);
    return r;
}

/* Launching */

int zygote_receive_userfaultfd(int socket, bool *remaps) {
    char byte = 0;
    int fd = -1;
    int r = receive(socket, &byte, sizeof(byte), &fd);
    *remaps = r == 1 && byte == ZYGOTE_REMAPS;
    return fd;
}

static int fill(ZygoteLaunch *launch, char *const *arguments, const SpawnFd *fds, size_t n_fds,
                Error *error) {
    if (n_fds > ZYGOTE_FDS_MAX)
        return error_set(error, ERROR_USAGE, E2BIG, "QEMU gets too many files");
    launch->n_fds = (uint32_t)n_fds;
    for (size_t i = 0; i < n_fds; i++)
        launch->targets[i] = fds[i].to;
    for (; arguments[launch->n_arguments]; launch->n_arguments++) {
        const char *argument = arguments[launch->n_arguments];
        size_t size = strlen(argument) + 1;
        if (size > sizeof(launch->text) - launch->text_size)
            return error_set(error, ERROR_USAGE, E2BIG, "QEMU's arguments are too long");
        memcpy(launch->text + launch->text_size, argument, size);
        launch->text_size += (uint32_t)size;
    }
    return 0;
}

static ssize_t send_all(int socket, const ZygoteLaunch *launch, const SpawnFd *fds) {
    int numbers[FD_PASS_MAX];
    ssize_t r =
        fd_send_message(socket, launch, offsetof(ZygoteLaunch, text) + launch->text_size, NULL, 0);
    for (size_t sent = 0; r >= 0 && sent < launch->n_fds;) {
        size_t n = MIN_OF(launch->n_fds - sent, (size_t)FD_PASS_MAX);
        for (size_t i = 0; i < n; i++)
            numbers[i] = fds[sent + i].from;
        r = fd_send_message(socket, "", 1, numbers, n);
        sent += n;
    }
    return r;
}

int zygote_launch(int socket, char *const *program_arguments, const SpawnFd *fds, size_t n_fds,
                  uid_t uid, gid_t gid, bool kvm, Error *error) {
    _cleanup_free_ ZygoteLaunch *launch = calloc(1, sizeof(*launch));
    if (!launch)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    launch->uid = uid;
    launch->gid = gid;
    launch->kvm = kvm;
    int r = fill(launch, program_arguments, fds, n_fds, error);
    if (r < 0)
        return r;
    ssize_t sent = send_all(socket, launch, fds);
    if (sent < 0 && sent != -EPIPE && sent != -ECONNRESET)
        return error_set_errno(error, (int)-sent, "cannot tell QEMU its arguments");
    return 0;
}
