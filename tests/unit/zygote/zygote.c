/* SPDX-License-Identifier: Apache-2.0 */

/* A shell stands for QEMU: what it sees of itself is what QEMU would. This program is its own
 * keeper: started by the zygote, it is told by the test what to launch, through its "listener". */

#include "zygote/client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "check.h"
#include "zygote/protocol.h"

#define SHELL "/bin/dash"
#define TEST_USER 12345
#define TEXT_MAX 16384

static char self[4096];
static char *library; /* owned */
static char folder[] = "/tmp/ramet-test-zygote-XXXXXX";

/* The keeper's part: a first byte that says what, and the shell's script. */

/* The userfaultfd is passed on to the test when it asks for it. */
static int keeper_launch(int qemu, const char *script, bool pass_on) {
    char *arguments[] = {(char *)SHELL, (char *)"-c", (char *)script, (char *)"name", NULL};
    SpawnFd fds[40] = {{.from = 3, .to = 1}, {.from = 3, .to = 2}, {.from = 3, .to = 5}};
    uid_t user = geteuid() == 0 ? TEST_USER : 0;
    size_t n = 3;
    bool remaps = false;
    _cleanup_close_ int uffd = zygote_receive_userfaultfd(qemu, &remaps);
    if (!remaps)
        return -EPROTO;
    if (pass_on)
        (void)fd_send_message(3, "uffd", 4, &uffd, uffd >= 0);
    for (; n < ARRAY_SIZE(fds); n++) /* more than one message holds */
        fds[n] = (SpawnFd){.from = 2, .to = (int)n + 100};
    return zygote_launch(qemu, arguments, fds, n, user, user, false, NULL);
}

static int run_keeper(int argc, char **argv) {
    char text[TEXT_MAX];
    int qemu = atoi(argv[4]), status;
    bool remaps;
    size_t n_fds = 0;
    ssize_t size = fd_receive_message(3, text, sizeof(text) - 1, NULL, &n_fds);
    if (argc != 6 || size <= 0)
        return 3;
    text[size] = '\0';
    if (text[0] == 'g') { /* garbage */
        (void)fd_close(zygote_receive_userfaultfd(qemu, &remaps));
        (void)fd_send_message(qemu, text, (size_t)size, NULL, 0);
    } else if (strchr("lu", text[0]) && keeper_launch(qemu, text + 1, text[0] == 'u') < 0)
        return 4;
    else if (text[0] == 'e') /* ends without a word */
        return 0;
    (void)fd_close(qemu);
    if (waitpid(atoi(argv[5]), &status, 0) < 0)
        return 5;
    (void)snprintf(text, sizeof(text), "status %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    (void)fd_send_message(3, text, strlen(text), NULL, 0);
    return 0;
}

/* The test's part */

typedef struct Pair {
    ProcessIdentity keeper;
    pid_t qemu; /* its child */
    int socket; /* what the keeper and its child say; SEQPACKET */
} Pair;

static int make_pair(Zygote *zygote, const char *binary, const char *keeper, Pair *pair,
                     Error *error) {
    _cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int ends[2], r;
    CHECK_INT(fd_socketpair(SOCK_SEQPACKET, ends), 0);
    r = zygote_spawn_keeper(zygote, binary, keeper, null, ends[1], &pair->keeper, &pair->qemu,
                            error);
    (void)fd_close(ends[1]);
    pair->socket = ends[0];
    return r;
}

static void tell(const Pair *pair, const char *text) {
    CHECK_INT(fd_send_message(pair->socket, text, strlen(text), NULL, 0), (ssize_t)strlen(text));
}

/* All that is said until the last one has closed the socket; the caller frees it. */
static char *hear(Pair *pair) {
    StrBuf all = {0};
    char text[TEXT_MAX];
    size_t n_fds = 0;
    ssize_t size;
    while ((size = fd_receive_message(pair->socket, text, sizeof(text), NULL, &n_fds)) > 0)
        strbuf_add(&all, text, (size_t)size);
    pair->socket = fd_close(pair->socket);
    return all.data ? all.data : str_copy("");
}

static void await_end(pid_t pid) {
    struct pollfd item = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    if (item.fd < 0)
        return;
    CHECK_INT(poll(&item, 1, 60000), 1);
    (void)fd_close(item.fd);
}

static pid_t parent_of(pid_t pid) {
    _cleanup_free_ char *path = str_format("/proc/%d/stat", (int)pid), *text = NULL;
    const char *next;
    CHECK_INT(fd_read_file_at(AT_FDCWD, path, TEXT_MAX, &text, NULL), 0);
    next = strrchr(text, ')');
    return next ? atoi(next + 4) : 0;
}

static char *run_script(Zygote *zygote, const char *binary, const char *script, pid_t *parent) {
    _cleanup_free_ char *order = str_format("l%s", script);
    _cleanup_error_ Error error = ERROR_INIT;
    Pair pair;
    CHECK_INT(make_pair(zygote, binary, self, &pair, &error), 1);
    if (parent)
        *parent = parent_of(pair.keeper.pid);
    tell(&pair, order);
    return hear(&pair);
}

static void test_becomes_what_it_is_told(void) {
    Zygote *zygote = zygote_new(library);
    _cleanup_free_ char *said = run_script(
        zygote, SHELL,
        "echo args $0 $#; echo preload ${LD_PRELOAD-none}; echo home $HOME; grep -E "
        "'^(Name|Uid|Groups|CapEff|CapBnd|NoNewPrivs|PPid):' /proc/$$/status | tr '\\t' ' '; "
        "tr '\\0' '|' < /proc/$$/cmdline; echo; echo five >&5; cd /proc/$$/fd; echo fds *; exit 7",
        NULL);
    CHECK_CONTAINS(said, "args name 0\n");
    CHECK_CONTAINS(said, "preload none\n");
    CHECK_CONTAINS(said, "home /nonexistent\n"); /* as main has set it */
    CHECK_CONTAINS(said, "Name: dash\n");
    CHECK_CONTAINS(said, "NoNewPrivs: 1\n");
    CHECK_CONTAINS(said, SHELL "|-c|echo args");
    CHECK_CONTAINS(said, "five\n");
    CHECK_CONTAINS(said, "fds 0 1 103 104 105 106 107 108 109 110 111 112");
    CHECK_CONTAINS(said, "138 139 140 2 3 5\n"); /* 3 is the folder that is being read, 140
                                                        its socket */
    CHECK_CONTAINS(said, "status 7");
    if (geteuid() == 0) {
        CHECK_CONTAINS(said, "Uid: 12345 12345 12345 12345\n");
        CHECK_CONTAINS(said, "Groups:  \n");
        CHECK_CONTAINS(said, "CapEff: 0000000000000000\nCapBnd: 0000000000000000\n");
    }
    zygote_free(zygote);
}

static void find_heap(pid_t pid, struct uffdio_range *heap) {
    _cleanup_free_ char *path = str_format("/proc/%d/maps", (int)pid), *text = NULL;
    unsigned long long start = 0, end = 0;
    CHECK_INT(fd_read_file_at(AT_FDCWD, path, 1 << 20, &text, NULL), 0);
    char *line = strstr(text, "[heap]");
    CHECK(line);
    *line = '\0';
    line = strrchr(text, '\n');
    CHECK(line && sscanf(line, " %llx-%llx", &start, &end) == 2);
    *heap = (struct uffdio_range){.start = start, .len = end - start};
}

/* It is of the child's memory and works, though the child has no copy of it (its descriptors are
 * listed above). Where this kernel makes none, there is none. */
static void test_gives_a_userfaultfd(void) {
    Zygote *zygote = zygote_new(library);
    _cleanup_free_ char *rest = NULL;
    _cleanup_close_ int given = -1,
                        own = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    char text[64] = "";
    size_t n_fds = 1;
    Pair pair;
    CHECK_INT(make_pair(zygote, SHELL, self, &pair, NULL), 1);
    tell(&pair, "uecho $$; read line <&5; echo $line");
    CHECK_INT(fd_receive_message(pair.socket, text, sizeof(text), &given, &n_fds), 4);
    CHECK_INT(given >= 0, own >= 0);
    n_fds = 0;
    CHECK(fd_receive_message(pair.socket, text, sizeof(text) - 1, NULL, &n_fds) > 0);
    if (given >= 0) {
        struct uffdio_api api = {.api = UFFD_API};
        struct uffdio_register heap = {.mode = UFFDIO_REGISTER_MODE_MISSING};
        find_heap(atoi(text), &heap.range);
        CHECK_INT(ioctl(given, UFFDIO_API, &api), 0);
        CHECK_INT(ioctl(given, UFFDIO_REGISTER, &heap), 0);
        CHECK_INT(ioctl(given, UFFDIO_UNREGISTER, &heap.range), 0);
    }
    for (const char *next = "on\n"; *next; next++) /* a shell reads byte by byte */
        CHECK_INT(fd_send_message(pair.socket, next, 1, NULL, 0), 1);
    rest = hear(&pair);
    CHECK_STR(rest, "on\nstatus 0");
    zygote_free(zygote);
}

/* The end of the keeper is the child's, too: the socket is closed by both. */
static void test_dies_with_its_keeper(void) {
    Zygote *zygote = zygote_new(library);
    _cleanup_free_ char *said = NULL;
    char text[64];
    size_t n_fds = 0;
    Pair pair;
    CHECK_INT(make_pair(zygote, SHELL, self, &pair, NULL), 1);
    tell(&pair, "lecho up; exec sleep 1000");
    CHECK(fd_receive_message(pair.socket, text, sizeof(text), NULL, &n_fds) > 0);
    CHECK_INT(process_signal(&pair.keeper, SIGKILL), 0);
    said = hear(&pair);
    CHECK_STR(said, "");
    zygote_free(zygote);
}

static void test_nothing_stays_of_a_keeper_without_a_plan(void) {
    Zygote *zygote = zygote_new(library);
    _cleanup_free_ char *said = NULL, *none = NULL;
    Pair pair;
    CHECK_INT(make_pair(zygote, SHELL, self, &pair, NULL), 1);
    tell(&pair, "e");
    said = hear(&pair);
    CHECK_STR(said, "");
    /* One that was not told anything yet ends with the zygote. */
    CHECK_INT(make_pair(zygote, SHELL, self, &pair, NULL), 1);
    zygote_free(zygote);
    await_end(pair.keeper.pid);
    none = hear(&pair);
    CHECK_STR(none, "");
}

static void test_refuses_garbage(void) {
    Zygote *zygote = zygote_new(library);
    _cleanup_free_ char *said = NULL, *again = NULL;
    Pair pair;
    CHECK_INT(make_pair(zygote, SHELL, self, &pair, NULL), 1);
    tell(&pair, "garbage");
    said = hear(&pair);
    CHECK_STR(said, "status 127");
    again = run_script(zygote, SHELL, "echo fine", NULL);
    CHECK_STR(again, "fine\nstatus 0");
    zygote_free(zygote);
}

/* A number that is another process by now is not taken for the one that was started. */
static void test_a_keeper_is_its_own_process(void) {
    ProcessIdentity found = {0}, self_now;
    _cleanup_close_ int ended = -1, own = (int)syscall(SYS_pidfd_open, getpid(), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    CHECK(child > 0 && own >= 0);
    ended = (int)syscall(SYS_pidfd_open, child, 0);
    CHECK_INT(waitpid(child, NULL, 0), child);
    CHECK_INT(process_identify_held(ended, getpid(), &found), -ESRCH);
    CHECK_INT(found.pid, 0);
    CHECK_INT(process_identify(getpid(), &self_now), 0);
    CHECK_INT(process_identify_held(own, getpid(), &found), 0);
    CHECK(found.start_ticks == self_now.start_ticks);
}

static void test_no_such_keeper(void) {
    Zygote *zygote = zygote_new(library);
    _cleanup_error_ Error error = ERROR_INIT;
    Pair pair;
    CHECK_INT(make_pair(zygote, SHELL, "/no/such/keeper", &pair, &error), -ENOENT);
    CHECK_CONTAINS(error_message(&error), "cannot start /no/such/keeper");
    (void)fd_close(pair.socket);
    zygote_free(zygote);
}

static void check_none(Zygote *zygote, const char *binary) {
    Pair pair;
    for (int i = 0; i < 2; i++) {
        CHECK_INT(make_pair(zygote, binary, self, &pair, NULL), 0);
        (void)fd_close(pair.socket);
    }
    zygote_free(zygote);
}

static void test_what_cannot_be_one(void) {
    _cleanup_free_ char *script = path_join(folder, "script");
    _cleanup_close_ int fd = open(script, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    CHECK(dprintf(fd, "#!/bin/sh\nsleep 1000\n") > 0);
    check_none(zygote_new(library), script);
    check_none(zygote_new(library), "/no/such/qemu");
    check_none(zygote_new("/no/such/library.so"), "/bin/false");
    /* What cannot load it goes on without, as does what is linked statically. */
    check_none(zygote_new("/dev/null"), "/bin/false");
    check_none(zygote_new(NULL), SHELL);
    CHECK_INT(setenv("LD_PRELOAD", "libc.so.6", 1), 0);
    check_none(zygote_new(library), SHELL);
    CHECK_INT(unsetenv("LD_PRELOAD"), 0);
}

/* Where it may have one. */
static void test_empty_network(void) {
    Zygote *zygote = zygote_new(library);
    char own[64] = "";
    CHECK(readlink("/proc/self/ns/net", own, sizeof(own) - 1) > 0);
    _cleanup_free_ char *text = run_script(zygote, SHELL, "readlink /proc/$$/ns/net", NULL);
    CHECK_CONTAINS(text, "net:[");
    if (geteuid() == 0 && unshare(CLONE_NEWNET) == 0) /* nothing here needs it any more */
        CHECK(!strstr(text, own));
    else
        CHECK_CONTAINS(text, own);
    zygote_free(zygote);
}

static void copy_shell(const char *to) {
    _cleanup_free_ char *text = NULL;
    _cleanup_free_ char *next = str_format("%s.next", to);
    size_t size;
    int fd = open(next, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    CHECK_INT(fd_read_file_at(AT_FDCWD, SHELL, 16 << 20, &text, &size), 0);
    CHECK_INT(fd_write_full(fd, text, size), 0);
    (void)fd_close(fd);
    CHECK_INT(rename(next, to), 0);
}

static void test_try(void) {
    _cleanup_free_ char *good = zygote_try(library, SHELL);
    _cleanup_free_ char *bad = zygote_try("/dev/null", "/bin/false");
    _cleanup_free_ char *none = zygote_try(library, "/no/such/qemu");
    CHECK(!good);
    CHECK_CONTAINS(bad, "cannot be stopped before its first line");
    CHECK_CONTAINS(none, "no such program");
}

/* A QEMU that was upgraded is not run as it was before. */
static void test_another_binary(void) {
    Zygote *zygote = zygote_new(library);
    _cleanup_free_ char *path = path_join(folder, "shell");
    _cleanup_free_ char *first = NULL, *second = NULL, *third = NULL;
    pid_t one, two, three;
    copy_shell(path);
    zygote_prepare(zygote, path);
    first = run_script(zygote, path, "readlink /proc/$$/exe", &one);
    second = run_script(zygote, path, "readlink /proc/$$/exe", &two);
    CHECK_INT(one, two);
    copy_shell(path);
    third = run_script(zygote, path, "readlink /proc/$$/exe", &three);
    CHECK(three != one);
    CHECK_INT(kill(one, 0), -1);
    CHECK(!strstr(third, "deleted"));
    zygote_free(zygote);
}

/* LD_PRELOAD could not name it. */
static void test_any_path(void) {
    _cleanup_free_ char *path = path_join(folder, "a b:c.so");
    Zygote *zygote = zygote_new(path);
    _cleanup_free_ char *said = NULL;
    CHECK_INT(symlink(library, path), 0);
    said = run_script(zygote, SHELL, "echo fine", NULL);
    CHECK_STR(said, "fine\nstatus 0");
    zygote_free(zygote);
}

static void test_killed(void) {
    Zygote *zygote = zygote_new(library);
    _cleanup_free_ char *first = NULL, *second = NULL;
    pid_t one, two;
    first = run_script(zygote, SHELL, "echo a", &one);
    CHECK_INT(kill(one, SIGKILL), 0);
    await_end(one);
    second = run_script(zygote, SHELL, "echo b", &two);
    CHECK_STR(second, "b\nstatus 0");
    CHECK(one != two);
    zygote_free(zygote);
}

int main(int argc, char **argv) {
    if (argc > 1 && str_equal(argv[1], "--listen-fd"))
        return run_keeper(argc, argv);
    CHECK_INT(argc, 2);
    library = realpath(argv[1], NULL);
    CHECK(library);
    CHECK(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    CHECK(mkdtemp(folder));
    CHECK_INT(setenv("HOME", "/nonexistent", 1), 0);
    RUN(test_becomes_what_it_is_told);
    RUN(test_gives_a_userfaultfd);
    RUN(test_dies_with_its_keeper);
    RUN(test_nothing_stays_of_a_keeper_without_a_plan);
    RUN(test_refuses_garbage);
    RUN(test_a_keeper_is_its_own_process);
    RUN(test_no_such_keeper);
    RUN(test_what_cannot_be_one);
    RUN(test_try);
    RUN(test_another_binary);
    RUN(test_empty_network);
    RUN(test_any_path);
    RUN(test_killed);
    CHECK_INT(path_remove_tree(folder), 0);
    free(library);
    return 0;
}
