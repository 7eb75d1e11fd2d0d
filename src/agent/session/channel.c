/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: one queue of bytes to the host. Data of streams is read straight into it, so it
 * costs one copy; channel_has_room bounds it, since streams are only read while it holds less than
 * OUT_SOFT.
 *
 * While the host has not opened its side, the kernel reports POLLHUP and POLLIN at once and for
 * ever, and read gives 0. Polling the channel then would spin. Instead an epoll that holds the
 * channel edge-triggered is polled: it wakes up once for each change, and the host's coming is one.
 */

#include "agent/session/channel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent/base/uevent.h"
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

int channel_find(const char *name, uint64_t deadline_usec) {
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

int channel_init(Channel *channel, int fd) {
    *channel = (Channel){.fd = fd, .edge_fd = -1, .connected = true};
    channel->edge_fd = epoll_create1(EPOLL_CLOEXEC);
    /* Regular files (in tests) cannot be watched; they never hang up either. */
    if (channel->edge_fd < 0 ||
        (epoll_ctl(channel->edge_fd, EPOLL_CTL_ADD, fd,
                   &(struct epoll_event){.events = EPOLLIN | EPOLLOUT | EPOLLET}) < 0 &&
         errno != EPERM)) {
        int r = -errno;
        channel_free(channel);
        return r;
    }
    return 0;
}

void channel_free(Channel *channel) {
    close_fd(&channel->edge_fd);
    close_fd(&channel->fd);
    free(channel->out);
    channel->out = NULL;
    channel->out_room = channel->out_start = channel->out_end = 0;
}

/* So much waits that no more requests should be read. */
static bool is_full(const Channel *channel) {
    return channel->out_end - channel->out_start >= OUT_FULL;
}

int channel_poll_fd(const Channel *channel, short *events) {
    if (!channel->connected) {
        *events = POLLIN;
        return channel->edge_fd;
    }
    *events = (short)((is_full(channel) ? 0 : POLLIN) |
                      (channel->out_end > channel->out_start ? POLLOUT : 0));
    return channel->fd;
}

static void host_is_gone(Channel *channel) {
    struct epoll_event event;
    /* Swallow the edge that is there already; if the host came in between, the look below sees it.
     */
    channel->connected = false;
    (void)epoll_wait(channel->edge_fd, &event, 1, 0);
}

void channel_handle_events(Channel *channel, short revents) {
    if (channel->connected) {
        if (revents & (POLLHUP | POLLERR) && !(revents & POLLIN))
            host_is_gone(channel);
    } else {
        struct epoll_event event;
        (void)epoll_wait(channel->edge_fd, &event, 1, 0);
    }
    struct pollfd now = {.fd = channel->fd, .events = POLLIN};
    if (!channel->connected && poll(&now, 1, 0) >= 0 && !(now.revents & POLLHUP))
        channel->connected = true;
}

ssize_t channel_read(Channel *channel, void *data, size_t room) {
    ssize_t n = read(channel->fd, data, room);
    if (n > 0)
        return n;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    host_is_gone(channel);
    return n < 0 ? -errno : -EPIPE;
}

bool channel_has_room(const Channel *channel) {
    return channel->out_end - channel->out_start < OUT_SOFT;
}

/* Room for that many more bytes at the end of the queue. */
static uint8_t *make_room(Channel *channel, size_t size) {
    size_t waiting = channel->out_end - channel->out_start;
    if (channel->out_room - channel->out_end >= size)
        return channel->out + channel->out_end;
    if (waiting > 0)
        memmove(channel->out, channel->out + channel->out_start, waiting);
    channel->out_start = 0;
    channel->out_end = waiting;
    if (channel->out_room - waiting >= size)
        return channel->out + waiting;
    if (waiting + size > OUT_MAX)
        return NULL;

    size_t room = waiting + size + OUT_FULL;
    uint8_t *out = realloc(channel->out, room);
    if (!out)
        return NULL;
    channel->out = out;
    channel->out_room = room;
    return out + waiting;
}

uint8_t *channel_reserve(Channel *channel, size_t size) {
    uint8_t *space = make_room(channel, FRAME_HEADER_SIZE + size);
    return space ? space + FRAME_HEADER_SIZE : NULL;
}

void channel_commit(Channel *channel, uint16_t stream, uint8_t type, size_t size) {
    frame_encode_header(channel->out + channel->out_end, channel->session, stream, type,
                        (uint32_t)size);
    channel->out_end += FRAME_HEADER_SIZE + size;
}

void channel_send(Channel *channel, uint16_t stream, uint8_t type, const void *payload,
                  size_t size) {
    uint8_t *space = channel_reserve(channel, size);
    if (!space)
        return;
    if (size > 0)
        memcpy(space, payload, size);
    channel_commit(channel, stream, type, size);
}

void channel_send_raw(Channel *channel, const void *data, size_t size) {
    uint8_t *space = make_room(channel, size);
    if (!space)
        return;
    memcpy(space, data, size);
    channel->out_end += size;
}

/* What it does not take goes through the channel, and all that follows, to keep the order. */
static void use_detour(Channel *channel) {
    size_t size = channel->out_end - channel->out_start;
    if (size == 0)
        return;
    if (channel->detour(channel->out + channel->out_start, size) == size)
        channel->out_start = channel->out_end;
    else
        channel->detour = NULL;
}

void channel_flush(Channel *channel) {
    if (channel->detour)
        use_detour(channel);
    while (channel->out_start < channel->out_end) {
        ssize_t n = write(channel->fd, channel->out + channel->out_start,
                          channel->out_end - channel->out_start);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        channel->out_start += (size_t)n;
    }
    channel->out_start = channel->out_end = 0;
}

void channel_drain(Channel *channel, uint64_t deadline_usec) {
    for (;;) {
        channel_flush(channel);
        uint64_t now = now_usec();
        if (channel->out_start == channel->out_end || now >= deadline_usec)
            return;
        struct pollfd wait = {.fd = channel->fd, .events = POLLOUT};
        if (poll(&wait, 1, (int)((deadline_usec - now) / 1000) + 1) > 0 && wait.revents & POLLHUP)
            return;
    }
}

void channel_drop_output(Channel *channel) {
    channel->out_start = channel->out_end = 0;
}
