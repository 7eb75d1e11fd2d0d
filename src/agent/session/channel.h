/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_SESSION_CHANNEL_H
#define RAMET_AGENT_SESSION_CHANNEL_H

#include "agent/base/util.h"

/* Another way to the host: takes all of the bytes and returns their number, or 0. */
typedef size_t (*ChannelDetour)(const uint8_t *bytes, size_t size);

/* The virtio-serial port to the keeper and what waits to be written to it. */
typedef struct Channel {
    int fd;      /* owned, non-blocking */
    int edge_fd; /* owned: an epoll that holds fd edge-triggered, for the time without a host */
    bool connected;
    uint32_t session; /* of the frames that are sent; 0 before the first greeting */
    uint8_t *out;     /* owned */
    size_t out_room;
    size_t out_start;
    size_t out_end;
    ChannelDetour detour; /* NULL: none */
} Channel;

/* Looks for the port of this name in /sys/class/virtio-ports (there is no udev in an initramfs) and
 * opens it; waits for its device to appear, at most until the deadline (now_usec). A descriptor or
 * a negative errno. */
int channel_find(const char *name, uint64_t deadline_usec);

/* Takes the descriptor over, even when it fails. */
int channel_init(Channel *channel, int fd);
void channel_free(Channel *channel);

/* Which descriptor to poll and for what: the channel, or the edge while the host is not there. */
int channel_poll_fd(const Channel *channel, short *events);

/* To be called when that descriptor reported something. */
void channel_handle_events(Channel *channel, short revents);

/* Bytes read, 0 for none now, or a negative errno. Notices by itself that the host went away. */
ssize_t channel_read(Channel *channel, void *data, size_t room);

/* True while streams may add more data. Short frames are always taken. */
bool channel_has_room(const Channel *channel);

/* Queues a frame. */
void channel_send(Channel *channel, uint16_t stream, uint8_t type, const void *payload,
                  size_t size);
void channel_send_raw(Channel *channel, const void *data, size_t size);

/* Room for a payload of that many bytes, to be filled by the caller; NULL when there is no memory.
 * channel_commit then makes it a frame; without it nothing happens. */
uint8_t *channel_reserve(Channel *channel, size_t size);
void channel_commit(Channel *channel, uint16_t stream, uint8_t type, size_t size);

/* Writes what the channel takes; by the detour as long as that takes all. */
void channel_flush(Channel *channel);

/* Waits until all is written or the deadline has passed. */
void channel_drain(Channel *channel, uint64_t deadline_usec);

/* Forgets what waits to be written. */
void channel_drop_output(Channel *channel);

#endif
