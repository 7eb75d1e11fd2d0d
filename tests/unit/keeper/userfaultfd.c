/* SPDX-License-Identifier: Apache-2.0 */
/* A keeper that the zygote made has a userfaultfd of its QEMU's memory, for as long as the VM runs,
 * and nobody else has; one that spawns QEMU has none. The real ramet-keeper and zygote with a
 * scripted QEMU: userfaultfd.c KEEPER FAKE_QEMU ZYGOTE_LIBRARY. */
#include <dirent.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "unit/keeper/vm.h"
#include "zygote/client.h"

static const char *library;

/* How many descriptors of a process are userfaultfds. */
static int count_in(pid_t pid) {
    _cleanup_free_ char *path = str_format("/proc/%d/fd", (int)pid);
    DIR *folder = opendir(path);
    int count = 0;
    CHECK(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        char text[64] = "";
        (void)!readlinkat(dirfd(folder), entry->d_name, text, sizeof(text) - 1);
        count += str_equal(text, "anon_inode:[userfaultfd]");
    }
    (void)closedir(folder);
    return count;
}

static bool makes_any(void) {
    _cleanup_close_ int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    return fd >= 0;
}

/* As the daemon does it: the keeper is the zygote's child. */
static void zygote_begin(Vm *vm, Zygote *zygote) {
    _cleanup_error_ Error error = ERROR_INIT;
    ProcessIdentity keeper;
    pid_t qemu;
    vm_begin(vm, "echo");
    CHECK_INT(kill(vm->keeper, SIGKILL), 0); /* the one that it spawned */
    CHECK_INT(waitpid(vm->keeper, NULL, 0), vm->keeper);
    _cleanup_close_ int listener =
        fd_unix_listen_at(vm->folder_fd, KEEPER_SOCKET_NAME, SOCK_SEQPACKET, 0600, 64);
    _cleanup_close_ int log = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK_INT(
        zygote_spawn_keeper(zygote, fake_path, keeper_path, log, listener, &keeper, &qemu, &error),
        1);
    vm->keeper = keeper.pid;
}

static void zygote_end(Vm *vm) {
    _cleanup_json_ json_t *ok = NULL;
    struct pollfd keeper = {.fd = (int)syscall(SYS_pidfd_open, vm->keeper, 0), .events = POLLIN};
    CHECK(keeper.fd >= 0);
    CHECK_INT(vm_ask(vm, "kill", &ok, NULL), 0);
    CHECK_INT(poll(&keeper, 1, 60000), 1);
    fd_close(keeper.fd);
    vm_clear(vm);
}

static void test_the_keeper_has_it(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    fprintf(stderr, "a program with a sanitizer's runtime cannot be a zygote\n");
    return;
#endif
    Zygote *zygote = zygote_new(library);
    for (int i = 0; i < 2; i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        Vm vm;
        zygote_begin(&vm, zygote);
        if (vm_start(&vm, &error) < 0)
            fprintf(stderr, "%s\n", error_message(&error));
        CHECK(vm.ok);
        CHECK_INT(count_in(vm.keeper), makes_any());
        CHECK_INT(count_in((pid_t)number(vm.ok, "qemu_pid")), 0);
        CHECK_INT(count_in(getpid()), 0);
        zygote_end(&vm);
    }
    zygote_free(zygote);
}

static void test_none_where_qemu_is_spawned(void) {
    Vm vm;
    vm_run(&vm, "echo");
    CHECK_INT(count_in(vm.keeper), 0);
    CHECK_INT(count_in((pid_t)number(vm.ok, "qemu_pid")), 0);
    vm_kill(&vm);
}

int main(int argc, char **argv) {
    CHECK_INT(argc, 4);
    keeper_path = argv[1];
    fake_path = realpath(argv[2], NULL);
    CHECK(fake_path);
    library = argv[3];
    RUN(test_the_keeper_has_it);
    RUN(test_none_where_qemu_is_spawned);
    return 0;
}
