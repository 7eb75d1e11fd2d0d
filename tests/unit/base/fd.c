/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch.h"

static int count_open(void) {
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void close_keeps_errno(void) {
    errno = EBUSY;
    CHECK_INT(fd_close(-1), -1);
    CHECK_INT(fd_close(9999), -1);
    CHECK_INT(errno, EBUSY);
}

static void read_until_end(void) {
    char data[16];
    _cleanup_close_ int fd = memfd_create("x", MFD_CLOEXEC);
    CHECK_INT(fd_write_full(fd, "hello world", 11), 0);
    CHECK_INT(fd_pread_full(fd, data, sizeof(data), 6), 5);
    CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
    CHECK_INT(fd_read_full(fd, data, 5), 5);
    CHECK(memcmp(data, "hello", 5) == 0);
    CHECK_INT(fd_pwrite_full(fd, "W", 1, 6), 0);
    CHECK_INT(fd_read_full(fd, data, sizeof(data)), 6);
    CHECK(memcmp(data, " World", 6) == 0);
    CHECK_INT(fd_read_full(-1, data, 1), -EBADF);
}

typedef struct Reader {
    int fd;
    size_t total;
} Reader;

static void *read_all(void *data) {
    char buffer[4096];
    Reader *reader = data;
    ssize_t got;
    while ((got = fd_read_full(reader->fd, buffer, sizeof(buffer))) > 0)
        reader->total += (size_t)got;
    return NULL;
}

static void write_waits_for_room(void) {
    int pair[2];
    CHECK_INT(fd_socketpair(SOCK_STREAM, pair), 0);
    CHECK_INT(fd_set_nonblocking(pair[0], true), 0);
    Reader reader = {.fd = pair[1]};
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, read_all, &reader), 0);
    size_t size = 4 << 20;
    _cleanup_free_ char *data = calloc(1, size);
    CHECK_INT(fd_write_full(pair[0], data, size), 0);
    fd_close(pair[0]);
    pthread_join(thread, NULL);
    CHECK_INT(reader.total, size);
    fd_close(pair[1]);
}

static void write_raises_no_sigpipe(void) {
    int pair[2];
    CHECK_INT(fd_socketpair(SOCK_STREAM, pair), 0);
    fd_close(pair[1]);
    CHECK_INT(fd_write_full(pair[0], "x", 1), -EPIPE);
    fd_close(pair[0]);
}

static void read_file_is_bounded(void) {
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_close_ int dir_fd = open(folder, O_PATH | O_CLOEXEC);
    _cleanup_free_ char *content = calloc(1, 10000);
    memset(content, 'x', 10000);
    CHECK_INT(path_write_atomic_at(dir_fd, "file", content, 10000, 0600), 0);
    char *data = NULL;
    size_t size = 0;
    CHECK_INT(fd_read_file_at(dir_fd, "file", 9999, &data, &size), -E2BIG);
    CHECK_INT(fd_read_file_at(dir_fd, "none", 9999, &data, &size), -ENOENT);
    CHECK(!data);
    CHECK_INT(fd_read_file_at(dir_fd, "file", 10000, &data, &size), 0);
    CHECK_INT(size, 10000);
    CHECK_INT(strlen(data), 10000);
    free(data);
    CHECK_INT(fd_read_file_at(AT_FDCWD, "/proc/self/stat", 65536, &data, NULL), 0);
    CHECK(strlen(data) > 10);
    free(data);
}

static void flags_are_set(void) {
    int pair[2];
    CHECK_INT(fd_socketpair(SOCK_SEQPACKET | SOCK_NONBLOCK, pair), 0);
    CHECK_INT(fcntl(pair[0], F_GETFD), FD_CLOEXEC);
    CHECK(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
    CHECK_INT(fd_set_nonblocking(pair[0], false), 0);
    CHECK(!(fcntl(pair[0], F_GETFL) & O_NONBLOCK));
    CHECK_INT(fd_set_cloexec(pair[0], false), 0);
    CHECK_INT(fcntl(pair[0], F_GETFD), 0);
    fd_close(pair[0]);
    fd_close(pair[1]);
}

static void message_passes_descriptors(void) {
    int pair[2], fds[FD_PASS_MAX];
    char data[8];
    size_t n_fds = FD_PASS_MAX;
    CHECK_INT(fd_socketpair(SOCK_SEQPACKET, pair), 0);
    _cleanup_close_ int file = memfd_create("x", MFD_CLOEXEC);
    CHECK_INT(fd_write_full(file, "passed", 6), 0);
    CHECK_INT(fd_send_message(pair[0], "hi", 2, (int[]){file, pair[0]}, 2), 2);
    CHECK_INT(fd_receive_message(pair[1], data, sizeof(data), fds, &n_fds), 2);
    CHECK_INT(n_fds, 2);
    CHECK_INT(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    CHECK_INT(fd_pread_full(fds[0], data, sizeof(data), 0), 6);
    fd_close(fds[0]);
    fd_close(fds[1]);
    CHECK_INT(fd_send_message(pair[0], "hi", 2, NULL, 0), 2);
    CHECK_INT(fd_receive_message(pair[1], data, sizeof(data), NULL, NULL), 2);
    CHECK_INT(fd_send_message(pair[0], "x", 1, fds, FD_PASS_MAX + 1), -EINVAL);
    fd_close(pair[0]);
    n_fds = 1;
    CHECK_INT(fd_receive_message(pair[1], data, sizeof(data), fds, &n_fds), 0);
    CHECK_INT(n_fds, 0);
    fd_close(pair[1]);
}

/* Sends `count` descriptors with raw sendmsg, as a hostile peer may. */
static void send_many(int socket, int fd, size_t count) {
    char control[CMSG_SPACE(sizeof(int) * 64)] __attribute__((aligned(8))) = {0};
    char byte = 'x';
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * count);
    for (size_t i = 0; i < count; i++)
        memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof(fd));
    CHECK_INT(sendmsg(socket, &message, 0), 1);
}

static void too_much_is_refused_and_closed(void) {
    int pair[2], fds[4];
    char data[4];
    CHECK_INT(fd_socketpair(SOCK_SEQPACKET, pair), 0);
    int before = count_open();
    size_t n_fds = 1;
    CHECK_INT(fd_send_message(pair[0], "hi", 2, pair, 2), 2);
    CHECK_INT(fd_receive_message(pair[1], data, sizeof(data), fds, &n_fds), -EMSGSIZE);
    send_many(pair[0], pair[0], 60);
    n_fds = 4;
    CHECK_INT(fd_receive_message(pair[1], data, sizeof(data), fds, &n_fds), -EMSGSIZE);
    CHECK_INT(fd_send_message(pair[0], "too long", 8, pair, 1), 8);
    CHECK_INT(fd_receive_message(pair[1], data, sizeof(data), fds, &n_fds), -EMSGSIZE);
    CHECK_INT(count_open(), before);
    fd_close(pair[0]);
    fd_close(pair[1]);
}

static void unix_socket_of_a_long_path(void) {
    _cleanup_scratch_ char *folder = scratch_new();
    char part[120];
    memset(part, 'd', sizeof(part) - 1);
    part[sizeof(part) - 1] = '\0';
    _cleanup_free_ char *deep = path_join(folder, part, part);
    _cleanup_free_ char *path = path_join(deep, "socket");
    CHECK_INT(path_make_folders(deep, 0700), 0);
    CHECK_INT(fd_unix_connect(path, SOCK_STREAM), -ENOENT);
    int listener = fd_unix_listen(path, SOCK_STREAM, 0660, 5);
    CHECK(listener >= 0);
    struct stat info;
    CHECK_INT(stat(path, &info), 0);
    CHECK_INT(info.st_mode & 07777, 0660);
    _cleanup_close_ int client = fd_unix_connect(path, SOCK_STREAM);
    CHECK(client >= 0);
    CHECK_INT(fd_unix_listen(path, SOCK_STREAM, 0660, 5), -EADDRINUSE);
    fd_close(listener);
    CHECK_INT(fd_unix_connect(path, SOCK_STREAM), -ECONNREFUSED);
    _cleanup_close_ int again = fd_unix_listen(path, SOCK_STREAM, 0600, 5); /* stale: replaced */
    CHECK(again >= 0);
}

static void unix_socket_names_are_checked(void) {
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_close_ int dir_fd = open(folder, O_PATH | O_CLOEXEC);
    char name[120];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    CHECK_INT(fd_unix_listen_at(dir_fd, name, SOCK_STREAM, 0600, 1), -ENAMETOOLONG);
    CHECK_INT(fd_unix_listen_at(dir_fd, "a/b", SOCK_STREAM, 0600, 1), -EINVAL);
    CHECK_INT(path_write_atomic_at(AT_FDCWD, "a/b", "", 0, 0600), -EINVAL);
    _cleanup_close_ int other = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK_INT(path_write_atomic_at(other, "file", "", 0, 0600), 0);
    CHECK_INT(fd_unix_listen_at(dir_fd, "file", SOCK_STREAM, 0600, 1), -EADDRINUSE);
}

int main(void) {
    RUN(close_keeps_errno);
    RUN(read_until_end);
    RUN(write_waits_for_room);
    RUN(write_raises_no_sigpipe);
    RUN(read_file_is_bounded);
    RUN(flags_are_set);
    RUN(message_passes_descriptors);
    RUN(too_much_is_refused_and_closed);
    RUN(unix_socket_of_a_long_path);
    RUN(unix_socket_names_are_checked);
    return 0;
}
