/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: one queue of bytes to the host. Data of streams is read straight into it, so it
 * costs one copy; port_has_room bounds it, since streams are only read while it holds less than
 * OUT_SOFT.
 *
 * While the host has not opened its side, the kernel reports POLLHUP and POLLIN at once and for
 * ever, and read gives 0. Polling the port then would spin. Instead an epoll that holds the port
 * edge-triggered is polled: it wakes up once for each change, and the host's coming is one. */

#include "agent/port.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent/uevent.h"
#include "proto/frame.h"

#define OUT_SOFT (128u * 1024u)
#define OUT_FULL (256u * 1024u)
#define OUT_MAX (4u * 1024u * 1024u)

#define PORTS_FOLDER "/sys/class/virtio-ports"

static int open_named(const char *name) {
    DIR *folder = opendir(PORTS_FOLDER);
    int fd = -ENOENT;

    if (!folder)
        return -errno;
    for (struct dirent *entry; fd == -ENOENT && (entry = readdir(folder));) {
        char path[300], found[128];

        (void)snprintf(path, sizeof(path), PORTS_FOLDER "/%s/name", entry->d_name);
        if (entry->d_name[0] == '.' || read_text(path, found, sizeof(found)) < 0 ||
            strcmp(found, name) != 0)
            continue;
        (void)snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
            fd = -errno;
    }
    (void)closedir(folder);
    return fd;
}

int port_find(const char *name, uint64_t deadline_usec) {
    _cleanup_close_ int uevents = uevent_open();

    for (;;) {
        int fd = open_named(name);

        /* EBUSY: an agent that is just ending still has it */
        if (fd >= 0 || (fd != -ENOENT && fd != -EBUSY))
            return fd;
        if (now_usec() >= deadline_usec)
            return fd;
        uint64_t soon = now_usec() + 100000; /* nothing tells when an EBUSY is over */

        uevent_wait(uevents, fd == -EBUSY ? MIN_OF(soon, deadline_usec) : deadline_usec);
    }
}

int port_init(Port *port, int fd) {
    *port = (Port){.fd = fd, .edge_fd = -1, .connected = true};
    port->edge_fd = epoll_create1(EPOLL_CLOEXEC);
    /* Regular files (in tests) cannot be watched; they never hang up either. */
    if (port->edge_fd < 0 ||
        (epoll_ctl(port->edge_fd, EPOLL_CTL_ADD, fd,
                   &(struct epoll_event){.events = EPOLLIN | EPOLLOUT | EPOLLET}) < 0 &&
         errno != EPERM)) {
        int r = -errno;

        port_free(port);
        return r;
    }
    return 0;
}

void port_free(Port *port) {
    close_fd(&port->edge_fd);
    close_fd(&port->fd);
    free(port->out);
    port->out = NULL;
    port->out_room = port->out_start = port->out_end = 0;
}

int port_poll_fd(const Port *port, short *events) {
    if (!port->connected) {
        *events = POLLIN;
        return port->edge_fd;
    }
    *events = (short)((port_is_full(port) ? 0 : POLLIN) |
                      (port->out_end > port->out_start ? POLLOUT : 0));
    return port->fd;
}

static void host_is_gone(Port *port) {
    struct epoll_event event;

    /* Swallow the edge that is there already; if the host came in between, the look below sees it.
     */
    port->connected = false;
    (void)epoll_wait(port->edge_fd, &event, 1, 0);
}

void port_woken(Port *port, short revents) {
    if (port->connected) {
        if (revents & (POLLHUP | POLLERR) && !(revents & POLLIN))
            host_is_gone(port);
    } else {
        struct epoll_event event;

        (void)epoll_wait(port->edge_fd, &event, 1, 0);
    }
    struct pollfd now = {.fd = port->fd, .events = POLLIN};

    if (!port->connected && poll(&now, 1, 0) >= 0 && !(now.revents & POLLHUP))
        port->connected = true;
}

ssize_t port_read(Port *port, void *data, size_t room) {
    ssize_t n = read(port->fd, data, room);

    if (n > 0)
        return n;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    host_is_gone(port);
    return n < 0 ? -errno : -EPIPE;
}

bool port_has_room(const Port *port) {
    return port->out_end - port->out_start < OUT_SOFT;
}

bool port_is_full(const Port *port) {
    return port->out_end - port->out_start >= OUT_FULL;
}

/* Room for that many more bytes at the end of the queue. */
static uint8_t *make_room(Port *port, size_t size) {
    size_t waiting = port->out_end - port->out_start;

    if (port->out_room - port->out_end >= size)
        return port->out + port->out_end;
    if (waiting > 0)
        memmove(port->out, port->out + port->out_start, waiting);
    port->out_start = 0;
    port->out_end = waiting;
    if (port->out_room - waiting >= size)
        return port->out + waiting;
    if (waiting + size > OUT_MAX)
        return NULL;

    size_t room = waiting + size + OUT_FULL;
    uint8_t *out = realloc(port->out, room);

    if (!out)
        return NULL;
    port->out = out;
    port->out_room = room;
    return out + waiting;
}

uint8_t *port_reserve(Port *port, size_t size) {
    uint8_t *space = make_room(port, FRAME_HEADER_SIZE + size);

    return space ? space + FRAME_HEADER_SIZE : NULL;
}

void port_commit(Port *port, uint32_t session, uint16_t stream, uint8_t type, size_t size) {
    frame_encode_header(port->out + port->out_end, session, stream, type, (uint32_t)size);
    port->out_end += FRAME_HEADER_SIZE + size;
}

void port_send(Port *port, uint32_t session, uint16_t stream, uint8_t type, const void *payload,
               size_t size) {
    uint8_t *space = port_reserve(port, size);

    if (!space)
        return;
    if (size > 0)
        memcpy(space, payload, size);
    port_commit(port, session, stream, type, size);
}

void port_send_raw(Port *port, const void *data, size_t size) {
    uint8_t *space = make_room(port, size);

    if (!space)
        return;
    memcpy(space, data, size);
    port->out_end += size;
}

/* What it does not take goes through the port, and all that follows, to keep the order. */
static void take_detour(Port *port) {
    size_t size = port->out_end - port->out_start;

    if (size == 0)
        return;
    if (port->detour(port->out + port->out_start, size) == size)
        port->out_start = port->out_end;
    else
        port->detour = NULL;
}

void port_flush(Port *port) {
    if (port->detour)
        take_detour(port);
    while (port->out_start < port->out_end) {
        ssize_t n = write(port->fd, port->out + port->out_start, port->out_end - port->out_start);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        port->out_start += (size_t)n;
    }
    port->out_start = port->out_end = 0;
}

void port_drain(Port *port, uint64_t deadline_usec) {
    for (;;) {
        port_flush(port);
        uint64_t now = now_usec();

        if (port->out_start == port->out_end || now >= deadline_usec)
            return;
        struct pollfd wait = {.fd = port->fd, .events = POLLOUT};

        if (poll(&wait, 1, (int)((deadline_usec - now) / 1000) + 1) > 0 && wait.revents & POLLHUP)
            return;
    }
}

void port_drop_output(Port *port) {
    port->out_start = port->out_end = 0;
}
