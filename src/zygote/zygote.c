/* SPDX-License-Identifier: Apache-2.0 */

/* ramet-zygote.so: stops a QEMU before its first line, and forks others off it.
 *
 * LD_PRELOAD (ld.so(8)) puts this library in front of the C library. Its __libc_start_main is what
 * QEMU's entry calls once all libraries are loaded, bound and set up, which is more than half of
 * what QEMU needs until it answers. There the zygote waits. Asked for a VM it forks twice: a child
 * that becomes the VM's keeper (execve), and the keeper's own child, which is told by its keeper
 * what to be and then goes on into QEMU's main as if it had been started with those arguments.
 *
 * Nothing of QEMU has run yet, no thread either, so a fork is safe; and nothing secret is in
 * memory. What the children share is what the dynamic linker made of the program: its layout in the
 * address space, and the pages that it wrote. docs/zygote.md weighs that.
 *
 * This file is all there is of the library, beside privileges.c, kvm_device.c, remap.c and
 * empty_network.c: it must not bring anything into QEMU that it does not have. */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/process/empty_network.h"
#include "zygote/privileges.h"
#include "zygote/protocol.h"
#include "zygote/remap.h"

#define FDS_AT_ONCE 16
#define FIRST_FREE_FD 3
#define PATH_BYTES 4096
#define HEAP_BYTES (2 << 20) /* more is not all used, and takes longer than the keeper needs */
#define HEAP_BLOCK_BYTES (64 << 10) /* below malloc's threshold for mmap */
#define HEAP_TRIES 16
#define HEAP_PAD_BYTES (128 << 10) /* malloc's own value */
#define HEAP_TRIM_BYTES (64 << 20)

typedef int (*MainFunction)(int argc, char **argv, char **environment);
typedef void (*Hook)(void);
typedef int (*StartFunction)(MainFunction main, int argc, char **argv, Hook init, Hook fini,
                             Hook linker_fini, void *stack_end);

__attribute__((visibility("default"))) int __libc_start_main(MainFunction main, int argc,
                                                             char **argv, Hook init, Hook fini,
                                                             Hook linker_fini, void *stack_end);

typedef struct Arguments {
    int count;
    char **items;
} Arguments;

typedef struct Request {
    char keeper[PATH_BYTES];
    int fds[2]; /* owned: the keeper's error output, its listener */
} Request;

/* What a child that is to become the keeper could not do; it shares this page. */
typedef struct Shared {
    int32_t error;
    int32_t qemu; /* the keeper's own child */
} Shared;

static noreturn void fail(const char *what, int error) {
    (void)dprintf(2, "ramet-zygote: cannot %s: %s\n", what, strerror(error));
    _exit(127);
}

/* Messages */

/* Returns the bytes, 0 at the end; *n_fds is the room on entry and the count on return. */
static ssize_t receive(int socket, void *data, size_t size, int *fds, size_t *n_fds) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(FDS_AT_ONCE * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = data, .iov_len = size};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(*n_fds * sizeof(int))};
    ssize_t got;
    do
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    *n_fds = 0;
    if (got < 0)
        return -errno;
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        return -EMSGSIZE;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS) {
        *n_fds = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(rights), *n_fds * sizeof(int));
    }
    return got;
}

static void attach_fd(struct msghdr *message, int fd) {
    struct cmsghdr *rights = CMSG_FIRSTHDR(message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
}

/* Whoever is gone needs no message: the next receive tells. fd -1: none. */
static void send_with(int socket, const void *data, size_t size, int fd) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = (void *)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        attach_fd(&message, fd);
    }
    (void)!sendmsg(socket, &message, MSG_NOSIGNAL);
}

/* To the daemon. pid_fd -1: none. */
static void answer(int error, pid_t pid, pid_t qemu, int pid_fd) {
    ZygoteAnswer text = {.error = error, .pid = pid, .qemu = qemu};
    send_with(ZYGOTE_FD, &text, sizeof(text), pid_fd);
}

/* False at the end of the daemon. */
static bool receive_request(Request *request) {
    size_t n_fds = 2;
    ssize_t got =
        receive(ZYGOTE_FD, request->keeper, sizeof(request->keeper), request->fds, &n_fds);
    if (got == 0 || got == -ECONNRESET)
        return false;
    if (got < 0 || n_fds != 2 || request->keeper[got - 1] != '\0')
        fail("understand the daemon", got < 0 ? (int)-got : EPROTO);
    return true;
}

/* Descriptors */

/* Gives each descriptor its number. None may be written over before it was copied, so all are
 * copied above the targets first. Everything above the highest target is closed. */
static int dup_fds_to(int *fds, const int32_t *targets, size_t n, int lowest) {
    int highest = lowest;
    for (size_t i = 0; i < n; i++)
        highest = targets[i] > highest ? targets[i] : highest;
    for (size_t i = 0; i < n; i++) {
        fds[i] = fcntl(fds[i], F_DUPFD, highest + 1);
        if (fds[i] < 0)
            return -errno;
    }
    if (close_range((unsigned)lowest, (unsigned)highest, 0) < 0)
        return -errno;
    for (size_t i = 0; i < n; i++)
        if (dup2(fds[i], targets[i]) < 0)
            return -errno;
    return close_range((unsigned)highest + 1, ~0U, 0) < 0 ? -errno : 0;
}

/* The QEMU-to-be */

static void receive_fds(int socket, int *fds, size_t n) {
    for (size_t have = 0; have < n;) {
        size_t room = n - have < FDS_AT_ONCE ? n - have : FDS_AT_ONCE;
        char byte;
        ssize_t got = receive(socket, &byte, 1, fds + have, &room);
        if (got <= 0 || room == 0)
            fail("get QEMU's descriptors", got < 0 ? (int)-got : EPROTO);
        have += room;
    }
}

static bool is_sound(const ZygoteLaunch *launch, size_t size) {
    if (size < offsetof(ZygoteLaunch, text) || launch->n_fds > ZYGOTE_FDS_MAX ||
        launch->text_size != size - offsetof(ZygoteLaunch, text) || launch->text_size == 0 ||
        launch->n_arguments == 0 || launch->text[launch->text_size - 1] != '\0')
        return false;
    size_t count = 0;
    for (uint32_t i = 0; i < launch->text_size; i++)
        count += launch->text[i] == '\0';
    return count == launch->n_arguments;
}

/* Its memory is QEMU's argv from here on. A keeper that ends before it says anything never had a
 * use for it. */
static ZygoteLaunch *receive_launch(int socket) {
    ZygoteLaunch *launch = malloc(sizeof(*launch));
    size_t n_fds = 0;
    if (!launch)
        fail("keep QEMU's arguments", ENOMEM);
    ssize_t got = receive(socket, launch, sizeof(*launch), NULL, &n_fds);
    if (got == 0 || got == -ECONNRESET)
        _exit(0);
    if (got < 0 || !is_sound(launch, (size_t)got))
        fail("understand the keeper", got < 0 ? (int)-got : EPROTO);
    return launch;
}

static Arguments split(ZygoteLaunch *launch) {
    Arguments arguments = {.count = (int)launch->n_arguments,
                           .items = calloc(launch->n_arguments + 1, sizeof(char *))};
    if (!arguments.items)
        fail("keep QEMU's arguments", ENOMEM);
    char *next = launch->text;
    for (int i = 0; i < arguments.count; i++) {
        arguments.items[i] = next;
        next += strlen(next) + 1;
    }
    return arguments;
}

/* Fields of /proc/self/stat (proc(5)) that prctl wants to have all together. */
static bool read_layout(struct prctl_mm_map *map) {
    char text[2048], *next;
    unsigned long long value[52] = {0};
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        (void)close(fd);
    if (size <= 0)
        return false;
    text[size] = '\0';
    next = strrchr(text, ')');
    for (int field = 3; next && field < 52; field++) {
        next = strchr(next + 1, ' ');
        value[field] = next ? strtoull(next + 1, NULL, 10) : 0;
    }
    *map = (struct prctl_mm_map){.start_code = value[26],
                                 .end_code = value[27],
                                 .start_stack = value[28],
                                 .start_data = value[45],
                                 .end_data = value[46],
                                 .start_brk = value[47],
                                 .brk = (uint64_t)(uintptr_t)sbrk(0),
                                 .arg_start = value[48],
                                 .arg_end = value[49],
                                 .env_start = value[50],
                                 .env_end = value[51],
                                 .exe_fd = (uint32_t)-1};
    return next != NULL;
}

/* What ps(1) shows, in short and in full. Where the kernel cannot change it (it is built without
 * CHECKPOINT_RESTORE), the old arguments are shown. */
static void show_as(const char *name, const char *text, size_t text_size) {
    struct prctl_mm_map map;
    (void)prctl(PR_SET_NAME, name, 0, 0, 0);
    if (!read_layout(&map))
        return;
    map.arg_start = (uint64_t)(uintptr_t)text;
    map.arg_end = map.arg_start + text_size;
    (void)prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0);
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A change of ids forgets the parent-death signal and closes the process to its own user, who is
 * also the keeper's and reads QEMU's memory for snapshots. An execve would have opened it again. */
static void tie_to_keeper(pid_t keeper) {
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        fail("tie QEMU to its keeper", errno);
    if (getppid() != keeper)
        _exit(127); /* it died before the signal was set */
}

/* While the keeper gets up on another core: the kernel gives us the memory that QEMU allocates
 * before it answers at once and not page by page. It is given back to nobody, so no more than that
 * is used in the end; without MADV_POPULATE_WRITE (Linux before 5.14) QEMU faults it in itself. */
static void grow_heap(void) {
    void *blocks[HEAP_TRIES] = {NULL};
    char *start = sbrk(0);
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_TRIM_BYTES);
    (void)mallopt(M_TOP_PAD, HEAP_BYTES);
    for (int i = 0; i < HEAP_TRIES && sbrk(0) == start; i++) /* until what there was is used up */
        blocks[i] = malloc(HEAP_BLOCK_BYTES);
    for (int i = 0; i < HEAP_TRIES; i++)
        free(blocks[i]);
    (void)mallopt(M_TOP_PAD, HEAP_PAD_BYTES);
    if ((char *)sbrk(0) - start >= HEAP_BYTES)
        (void)madvise(start, HEAP_BYTES, MADV_POPULATE_WRITE);
}

/* By it the keeper sees what the guest writes (memory/written.h). It is of the process that makes
 * it, so QEMU has to; it goes on to work when only the keeper has it, and no copy stays here. Where
 * the kernel or a filter refuses there is none. */
static void give_userfaultfd(int socket) {
    static const char remaps = ZYGOTE_REMAPS;
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    send_with(socket, &remaps, sizeof(remaps), fd);
    if (fd >= 0)
        (void)close(fd);
}

/* The socket stays, above all others, for what the keeper asks of QEMU later. */
static int keep_socket(ZygoteLaunch *launch, int *fds, int socket) {
    int32_t highest = FIRST_FREE_FD - 1;
    for (size_t i = 0; i < launch->n_fds; i++)
        highest = launch->targets[i] > highest ? launch->targets[i] : highest;
    launch->targets[launch->n_fds] = highest + 1;
    fds[launch->n_fds++] = socket;
    return highest + 1;
}

static void become_qemu(int socket, Arguments *arguments) {
    static int fds[ZYGOTE_FDS_MAX + 1];
    const char *failed;
    pid_t keeper = getppid();
    give_userfaultfd(socket);
    grow_heap();
    ZygoteLaunch *launch = receive_launch(socket);
    receive_fds(socket, fds, launch->n_fds);
    int kept = keep_socket(launch, fds, socket);
    int r = dup_fds_to(fds, launch->targets, launch->n_fds, FIRST_FREE_FD);
    if (r < 0)
        fail("number QEMU's descriptors", -r);
    (void)fcntl(kept, F_SETFD, FD_CLOEXEC);
    r = remap_serve(kept);
    if (r < 0)
        fail("serve its keeper", -r);
    r = privileges_drop(launch->uid, launch->gid, launch->kvm != 0, &failed);
    if (r < 0)
        fail(failed, -r);
    tie_to_keeper(keeper);
    *arguments = split(launch);
    show_as(base_name(arguments->items[0]), launch->text, launch->text_size);
}

/* The keeper-to-be */

static noreturn void become_keeper(const Request *request, int qemu_socket, pid_t qemu,
                                   Shared *shared) {
    static const int32_t targets[] = {2, ZYGOTE_KEEPER_LISTENER_FD, ZYGOTE_KEEPER_QEMU_FD};
    int fds[] = {request->fds[0], request->fds[1], qemu_socket};
    char listener[12], socket[12], pid[12];
    char name[] = "ramet-keeper", listen_option[] = "--listen-fd", qemu_option[] = "--qemu";
    char *argv[] = {name, listen_option, listener, qemu_option, socket, pid, NULL};
    (void)snprintf(listener, sizeof(listener), "%d", ZYGOTE_KEEPER_LISTENER_FD);
    (void)snprintf(socket, sizeof(socket), "%d", ZYGOTE_KEEPER_QEMU_FD);
    (void)snprintf(pid, sizeof(pid), "%d", (int)qemu);
    int r = dup_fds_to(fds, targets, 3, FIRST_FREE_FD);
    if (r == 0) {
        (void)execve(request->keeper, argv, environ);
        r = -errno;
    }
    shared->error = -r;
    _exit(127);
}

/* Returns its socket in the child that becomes QEMU, and in no other. */
static int begin_vm(const Request *request, pid_t zygote, Shared *shared) {
    int ends[2];
    (void)signal(SIGCHLD, SIG_DFL);
    /* Until it has its plan (keeper/tasks/start.c). */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != zygote)
        _exit(127);
    (void)setsid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        shared->error = errno;
        _exit(127);
    }
    pid_t qemu = fork();
    if (qemu < 0) {
        shared->error = errno;
        _exit(127);
    }
    if (qemu > 0) {
        shared->qemu = qemu;
        become_keeper(request, ends[0], qemu, shared);
    }
    (void)close(ends[0]);
    (void)close(request->fds[0]);
    (void)close(request->fds[1]);
    (void)close(ZYGOTE_FD);
    return ends[1];
}

/* The zygote */

/* As fork(2), but the parent goes on once the child is a program of its own or has ended. It gets a
 * pidfd: nobody waits for the child, so its number alone could be another's by the time that
 * somebody looks. */
static pid_t fork_until_exec(int *pid_fd) {
    return (pid_t)syscall(SYS_clone, CLONE_VFORK | CLONE_PIDFD | SIGCHLD, NULL, pid_fd, NULL, 0);
}

/* Returns in the child that becomes QEMU. */
static int serve(Shared *shared) {
    Request request;
    pid_t zygote = getpid();
    for (;;) {
        if (!receive_request(&request))
            _exit(0);
        shared->error = 0;
        int pid_fd = -1;
        pid_t keeper = fork_until_exec(&pid_fd);
        if (keeper == 0)
            return begin_vm(&request, zygote, shared);
        answer(keeper < 0 ? errno : shared->error, keeper, shared->qemu, pid_fd);
        if (pid_fd >= 0)
            (void)close(pid_fd);
        (void)close(request.fds[0]);
        (void)close(request.fds[1]);
    }
}

/* A library that starts a thread when it is loaded could not be forked. */
static bool is_single_threaded(void) {
    int tasks = 0;
    DIR *folder = opendir("/proc/self/task");
    if (!folder)
        return false;
    for (const struct dirent *entry; (entry = readdir(folder));)
        tasks += entry->d_name[0] != '.';
    (void)closedir(folder);
    return tasks == 1;
}

/* What keepers and QEMUs inherit. The limit and the pages as in keeper/main.c. */
static void prepare(void) {
    struct rlimit limit;
    (void)unsetenv("LD_PRELOAD");
    (void)close(ZYGOTE_LIBRARY_FD);
    (void)empty_network_enter();    /* ramet doctor tells what is in the way */
    (void)signal(SIGCHLD, SIG_IGN); /* nobody waits for keepers here */
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void run_zygote(Arguments *arguments) {
    static char shown[] = "ramet-zygote"; /* written to: the kernel shows anonymous memory only */
    Shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    prepare();
    shown[sizeof(shown) - 1] = '\0';
    show_as(shown, shown, sizeof(shown));
    if (shared == MAP_FAILED || !is_single_threaded()) {
        answer(ENOTSUP, getpid(), 0, -1);
        _exit(1);
    }
    answer(0, getpid(), 0, -1);
    int socket = serve(shared);
    (void)munmap(shared, sizeof(*shared));
    become_qemu(socket, arguments);
}

/* The C library's own is documented in LSB Core, "__libc_start_main". */
int __libc_start_main(MainFunction main, int argc, char **argv, Hook init, Hook fini,
                      Hook linker_fini, void *stack_end) {
    StartFunction start = (StartFunction)dlsym(RTLD_NEXT, "__libc_start_main");
    Arguments arguments = {.count = argc, .items = argv};
    if (argc == 2 && strcmp(argv[1], ZYGOTE_OPTION) == 0)
        run_zygote(&arguments);
    return start(main, arguments.count, arguments.items, init, fini, linker_fini, stack_end);
}
