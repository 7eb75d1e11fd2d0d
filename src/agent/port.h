/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_PORT_H
#define RAMET_AGENT_PORT_H

#include "agent/util.h"

/* Another way to the host: takes all of the bytes and returns their number, or 0. */
typedef size_t (*PortDetour)(const uint8_t *bytes, size_t size);

/* The virtio-serial port and what waits to be written to it. */
typedef struct Port {
    int fd;      /* owned, non-blocking */
    int edge_fd; /* owned: an epoll that holds fd edge-triggered, for the time without a host */
    bool connected;
    uint8_t *out; /* owned */
    size_t out_room;
    size_t out_start;
    size_t out_end;
    PortDetour detour; /* NULL: none */
} Port;

/* Looks for the port of this name in /sys/class/virtio-ports (there is no udev in an initramfs) and
 * opens it; waits for its device to appear, at most until the deadline (now_usec). A descriptor or
 * a negative errno. */
int port_find(const char *name, uint64_t deadline_usec);

/* Takes the descriptor over, even when it fails. */
int port_init(Port *port, int fd);
void port_free(Port *port);

/* Which descriptor to poll and for what: the port, or the edge while the host is not there. */
int port_poll_fd(const Port *port, short *events);

/* To be called when that descriptor reported something. */
void port_woken(Port *port, short revents);

/* Bytes read, 0 for none now, or a negative errno. Notices by itself that the host went away. */
ssize_t port_read(Port *port, void *data, size_t room);

/* True while streams may add more data. Short frames are always taken. */
bool port_has_room(const Port *port);

/* True when so much waits that no more requests should be read. */
bool port_is_full(const Port *port);

/* Queues a frame. */
void port_send(Port *port, uint32_t session, uint16_t stream, uint8_t type, const void *payload,
               size_t size);
void port_send_raw(Port *port, const void *data, size_t size);

/* Room for a payload of that many bytes, to be filled by the caller; NULL when there is no memory.
 * port_commit then makes it a frame; without it nothing happens. */
uint8_t *port_reserve(Port *port, size_t size);
void port_commit(Port *port, uint32_t session, uint16_t stream, uint8_t type, size_t size);

/* Writes what the port takes; by the detour as long as that takes all. */
void port_flush(Port *port);

/* Waits until all is written or the deadline has passed. */
void port_drain(Port *port, uint64_t deadline_usec);

/* Forgets what waits to be written. */
void port_drop_output(Port *port);

#endif
