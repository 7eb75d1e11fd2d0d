/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/net/tcp and tcp6 (proc(5)) tell which sockets there are, and by their inodes they are found
 * among the programs' descriptors. A duplicate of such a descriptor (pidfd_getfd(2)) is the same
 * socket, and connect(2) with AF_UNSPEC ends it as a reset from the other side would. */

#include "agent/identity/connections.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/base/util.h"

#define CONNECTIONS_MAX 65536 /* of this program's memory; no guest of ours has more */
#define OTHER_FILES 256       /* that this program has open beside them */

typedef struct Connection {
    unsigned long inode;
    uint8_t address[16]; /* its own */
    size_t size;         /* of that: 4 or 16 */
    int fd;              /* owned; -1: not found yet */
} Connection;

static Connection *connections; /* owned; by inode once all are there */
static size_t count, room;
static struct rlimit files; /* before it was raised */
static bool is_raised;

/* ---- which there are ---- */

/* Words of eight digits, each a number in the machine's order. */
static size_t read_address(const char *digits, uint8_t address[16]) {
    size_t words = strlen(digits) / 8;
    for (size_t i = 0; i < words && i < 4; i++) {
        char word[9];
        copy_text(word, sizeof(word), digits + i * 8);
        uint32_t number = (uint32_t)strtoul(word, NULL, 16);
        memcpy(address + i * 4, &number, sizeof(number));
    }
    return words * 4;
}

/* An IPv4 address is one as well where a socket of IPv6 has it. */
static size_t unmap(uint8_t address[16], size_t size) {
    static const uint8_t mapped[12] = {[10] = 0xff, 0xff};
    if (size != 16 || memcmp(address, mapped, sizeof(mapped)) != 0)
        return size;
    memmove(address, address + 12, 4);
    return 4;
}

/* Addresses that no card loses. */
static bool is_inner(const uint8_t *address, size_t size) {
    static const uint8_t loopback6[16] = {[15] = 1}, none[16] = {0};
    return memcmp(address, none, size) == 0 ||
           (size == 4 ? address[0] == 127 : memcmp(address, loopback6, size) == 0);
}

/* Between the first segment and the last; a closed one waits for nobody. */
static bool is_open(unsigned state) {
    enum { TIME_WAIT = 6, CLOSED = 7, LISTENS = 10 };
    return state != TIME_WAIT && state != CLOSED && state != LISTENS;
}

static void add(const Connection *connection) {
    if (count == room) {
        size_t larger = room ? 2 * room : 64;
        Connection *grown = realloc(connections, larger * sizeof(*grown));
        if (!grown)
            return;
        connections = grown;
        room = larger;
    }
    connections[count++] = *connection;
}

/* Its number, its addresses with their ports, state, two queues, two timers, a counter, user,
 * another counter, inode. */
static void add_line(const char *line) {
    Connection found = {.fd = -1};
    char digits[33];
    unsigned state;
    if (sscanf(line, " %*u: %32[0-9A-F]:%*x %*[0-9A-F]:%*x %x %*s %*s %*s %*u %*u %lu", digits,
               &state, &found.inode) != 3 ||
        !is_open(state) || found.inode == 0)
        return;
    found.size = unmap(found.address, read_address(digits, found.address));
    if ((found.size == 4 || found.size == 16) && !is_inner(found.address, found.size))
        add(&found);
}

static void add_all(const char *path) {
    FILE *file = fopen(path, "re");
    char line[512];
    while (file && count < CONNECTIONS_MAX && fgets(line, sizeof(line), file))
        add_line(line);
    if (file)
        (void)fclose(file);
}

/* ---- whose they are ---- */

static int compare_inodes(const void *a, const void *b) {
    const Connection *one = a, *other = b;
    return one->inode < other->inode ? -1 : one->inode > other->inode;
}

/* Programs share sockets: each is taken once. */
static Connection *find_inode(unsigned long inode) {
    const Connection wanted = {.inode = inode};
    Connection *found = bsearch(&wanted, connections, count, sizeof(*connections), compare_inodes);
    return found && found->fd < 0 ? found : NULL;
}

/* Each of them is one more open file. */
static void raise_limit(void) {
    const rlim_t wanted = (rlim_t)count + OTHER_FILES;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= wanted)
        return;
    const struct rlimit more = {.rlim_cur = wanted,
                                .rlim_max = files.rlim_max > wanted ? files.rlim_max : wanted};
    is_raised = setrlimit(RLIMIT_NOFILE, &more) == 0;
}

static void take(pid_t pid, int fd, Connection *connection) {
    _cleanup_close_ int process = (int)syscall(SYS_pidfd_open, pid, 0);
    if (process >= 0)
        connection->fd = (int)syscall(SYS_pidfd_getfd, process, fd, 0);
}

/* Returns how many were found. */
static size_t look_through(const char *pid) {
    char path[300], target[64];
    size_t found = 0;
    (void)snprintf(path, sizeof(path), "/proc/%s/fd", pid);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        unsigned long inode;
        ssize_t n = readlinkat(dirfd(folder), entry->d_name, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        Connection *connection =
            sscanf(target, "socket:[%lu]", &inode) == 1 ? find_inode(inode) : NULL;
        if (connection)
            take((pid_t)strtol(pid, NULL, 10), (int)strtol(entry->d_name, NULL, 10), connection);
        found += connection && connection->fd >= 0;
    }
    if (folder)
        (void)closedir(folder);
    return found;
}

void connections_prepare(void) {
    connections_forget();
    add_all("/proc/net/tcp");
    add_all("/proc/net/tcp6");
    if (count > 0)
        qsort(connections, count, sizeof(*connections), compare_inodes);
    raise_limit();
    DIR *folder = count > 0 ? opendir("/proc") : NULL;
    size_t left = count;
    for (struct dirent *entry; folder && left > 0 && (entry = readdir(folder));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            left -= look_through(entry->d_name);
    if (folder)
        (void)closedir(folder);
}

/* ---- their end ---- */

/* To tell of itself, a socket is locked (Linux, net/ipv4/tcp.c, tcp_get_info). */
void connections_take_locks(void) {
    struct tcp_info told;
    for (size_t i = 0; i < count; i++) {
        socklen_t size = sizeof(told);
        if (connections[i].fd >= 0)
            (void)getsockopt(connections[i].fd, IPPROTO_TCP, TCP_INFO, &told, &size);
    }
}

/* Some kernels do not disconnect a socket that a thread waits in; it is woken by an end of the
 * stream. */
static void reset(int fd) {
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    if (connect(fd, &nobody, sizeof(nobody)) < 0 && errno == EBUSY)
        (void)shutdown(fd, SHUT_RDWR);
}

void connections_reset(const uint8_t *address, size_t size) {
    for (size_t i = 0; i < count; i++)
        if (connections[i].fd >= 0 && connections[i].size == size &&
            memcmp(connections[i].address, address, size) == 0)
            reset(connections[i].fd);
}

void connections_forget(void) {
    while (count > 0)
        close_fd(&connections[--count].fd);
    free(connections);
    connections = NULL;
    room = 0;
    if (is_raised)
        (void)setrlimit(RLIMIT_NOFILE, &files);
    is_raised = false;
}
