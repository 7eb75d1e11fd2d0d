/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"

int fd_close(int fd) {
    if (fd >= 0) {
        int saved_errno = errno;
        (void)close(fd); /* never again after EINTR: Linux has released the number already */
        errno = saved_errno;
    }
    return -1;
}

/* The lowest free number is the one that is missing. /dev/null is opened the wrong way round. */
int fd_open_standard(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) /* inherited */
            return -errno;
    return 0;
}

ssize_t fd_read_full(int fd, void *buffer, size_t size) {
    size_t done = 0;
    while (done < size) {
        ssize_t got = read(fd, (char *)buffer + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

ssize_t fd_pread_full(int fd, void *buffer, size_t size, uint64_t offset) {
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(fd, (char *)buffer + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

/* One write; sockets go through send(2), which alone can keep SIGPIPE away. */
static ssize_t write_some(int fd, const void *data, size_t size) {
    ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == ENOTSOCK)
        sent = write(fd, data, size);
    return sent < 0 ? -errno : sent;
}

static int wait_writable(int fd) {
    struct pollfd item = {.fd = fd, .events = POLLOUT};
    return poll(&item, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

int fd_write_full(int fd, const void *buffer, size_t size) {
    const char *next = buffer;
    while (size > 0) {
        ssize_t sent = write_some(fd, next, size);
        if (sent == -EINTR)
            continue;
        if (sent == -EAGAIN)
            sent = wait_writable(fd);
        if (sent < 0)
            return (int)sent;
        next += sent;
        size -= (size_t)sent;
    }
    return 0;
}

int fd_pwrite_full(int fd, const void *buffer, size_t size, uint64_t offset) {
    size_t done = 0;
    while (done < size) {
        ssize_t sent = pwrite(fd, (const char *)buffer + done, size - done, (off_t)(offset + done));
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return sent < 0 ? -errno : -EIO;
        done += (size_t)sent;
    }
    return 0;
}

/* Reads to the end of the file, whose size is not known before (files in /proc say 0). */
static int read_to_end(int fd, size_t max_bytes, char **data, size_t *size) {
    _cleanup_free_ char *buffer = NULL;
    size_t room = 0, used = 0;
    for (;;) {
        room = room ? 2 * room : 4096;
        char *bigger = realloc(buffer, room + 1);
        if (!bigger)
            return -ENOMEM;
        buffer = bigger;
        ssize_t got = fd_read_full(fd, buffer + used, room - used);
        if (got < 0)
            return (int)got;
        used += (size_t)got;
        if (used > max_bytes)
            return -E2BIG;
        if (used < room)
            break;
    }
    buffer[used] = '\0';
    *data = TAKE_PTR(buffer);
    *size = used;
    return 0;
}

int fd_read_file_at(int dir_fd, const char *path, size_t max_bytes, char **data, size_t *size) {
    _cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    size_t ignored;
    return read_to_end(fd, max_bytes, data, size ? size : &ignored);
}

void fd_find_data(int fd, uint64_t offset, uint64_t size, uint64_t *start, uint64_t *end) {
    off_t data = lseek(fd, (off_t)offset, SEEK_DATA);
    if (data < 0) {
        *start = errno == ENXIO ? size : offset;
        *end = size;
        return;
    }
    off_t hole = lseek(fd, data, SEEK_HOLE);
    *start = MIN_OF((uint64_t)data, size);
    *end = hole < 0 ? size : MIN_OF((uint64_t)hole, size);
}

bool fd_is_cancelled(int cancel_fd) {
    struct pollfd item = {.fd = cancel_fd, .events = POLLIN | POLLRDHUP};
    return cancel_fd >= 0 && poll(&item, 1, 0) > 0;
}

int fd_set_nonblocking(int fd, bool nonblocking) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    flags = nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int fd_set_cloexec(int fd, bool cloexec) {
    return fcntl(fd, F_SETFD, cloexec ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

int fd_socketpair(int type, int pair[2]) {
    return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0 ? -errno : 0;
}

typedef union ControlBuffer {
    char bytes[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
    struct cmsghdr align;
} ControlBuffer;

ssize_t fd_send_message(int socket, const void *data, size_t size, const int *fds, size_t n_fds) {
    if (n_fds > FD_PASS_MAX)
        return -EINVAL;
    struct iovec part = {.iov_base = (void *)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ControlBuffer control = {0};
    if (n_fds > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * n_fds);
    }
    for (;;) {
        ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
        if (sent >= 0 || errno != EINTR)
            return sent < 0 ? -errno : sent;
    }
}

/* Gathers the descriptors of a received message; there are at most FD_PASS_MAX, since the kernel
 * drops (and closes) what the control buffer cannot hold. */
static size_t gather_fds(struct msghdr *message, int fds[FD_PASS_MAX]) {
    size_t count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        n = MIN_OF(n, FD_PASS_MAX - count);
        memcpy(fds + count, CMSG_DATA(header), n * sizeof(int));
        count += n;
    }
    return count;
}

ssize_t fd_receive_message(int socket, void *data, size_t size, int *fds, size_t *n_fds) {
    struct iovec part = {.iov_base = data, .iov_len = size};
    ControlBuffer control;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t got;
    do
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    int received[FD_PASS_MAX];
    size_t count = gather_fds(&message, received);
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || count > (n_fds ? *n_fds : 0)) {
        for (size_t i = 0; i < count; i++)
            fd_close(received[i]);
        return -EMSGSIZE;
    }
    if (count > 0)
        memcpy(fds, received, count * sizeof(int));
    if (n_fds)
        *n_fds = count;
    return got;
}

static int fill_address(int dir_fd, const char *name, struct sockaddr_un *address) {
    if (*name == '\0' || strchr(name, '/'))
        return -EINVAL;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    char folder[32] = "/proc/self/cwd";
    if (dir_fd != AT_FDCWD)
        snprintf(folder, sizeof(folder), "/proc/self/fd/%d", dir_fd);
    int length = snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s", folder, name);
    return length < (int)sizeof(address->sun_path) ? 0 : -ENAMETOOLONG;
}

/* Removes a socket file that nobody listens on any more; -EADDRINUSE when somebody does, or when it
 * is no socket at all. */
static int remove_stale(int dir_fd, const char *name, int type) {
    struct stat info;
    if (fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(info.st_mode))
        return -EADDRINUSE;
    _cleanup_close_ int fd = fd_unix_connect_at(dir_fd, name, type | SOCK_NONBLOCK);
    if (fd == -ENOENT)
        return 0;
    if (fd != -ECONNREFUSED)
        return -EADDRINUSE;
    return unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* The mode is set before listen(2): until then nobody can connect, whatever the umask made of it.
 */
static int listen_on(int fd, const struct sockaddr_un *address, mode_t mode, int backlog) {
    if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
        chmod(address->sun_path, mode) < 0 || listen(fd, backlog) < 0)
        return -errno;
    return 0;
}

int fd_unix_listen_at(int dir_fd, const char *name, int type, mode_t mode, int backlog) {
    struct sockaddr_un address;
    int r = fill_address(dir_fd, name, &address);
    if (r == 0)
        r = remove_stale(dir_fd, name, type);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    r = listen_on(fd, &address, mode, backlog);
    return r < 0 ? r : TAKE_FD(fd);
}

int fd_unix_connect_at(int dir_fd, const char *name, int type) {
    struct sockaddr_un address;
    int r = fill_address(dir_fd, name, &address);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return TAKE_FD(fd);
}

/* Opens the folder that holds `path`; *name is the part of `path` after it. */
static int open_parent(const char *path, const char **name) {
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *folder = NULL;
    if (!slash)
        folder = str_copy(".");
    else
        folder = str_format("%.*s", (int)(slash - path) + 1, path);
    int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *name = slash ? slash + 1 : path;
    return fd;
}

int fd_unix_listen(const char *path, int type, mode_t mode, int backlog) {
    const char *name = "";
    _cleanup_close_ int dir_fd = open_parent(path, &name);
    return dir_fd < 0 ? dir_fd : fd_unix_listen_at(dir_fd, name, type, mode, backlog);
}

int fd_unix_connect(const char *path, int type) {
    const char *name = "";
    _cleanup_close_ int dir_fd = open_parent(path, &name);
    return dir_fd < 0 ? dir_fd : fd_unix_connect_at(dir_fd, name, type);
}
