/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/ports/capture.h"

/* Blocks are put together in a buffer of fixed size and written when the reader takes them. A block
 * goes into the buffer whole or not at all. Interfaces are numbered as they are first seen. */

#include <errno.h>
#include <netpacket/packet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "switch/ports/table.h"

#define OUTPUT_ROOM (256u * 1024u)
#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_PACKET 6u
#define LINK_ETHERNET 1
#define NO_INTERFACE 0xffffu
#define FRAME_OF_HOST_MAX 65536u

struct Capture {
    Switch *owner; /* borrowed */
    uint64_t number;
    uint64_t serial;           /* of the port; 0: the network */
    char name[SWITCH_ID_SIZE]; /* of the network, or the port's VM */
    Watched output;
    Watched source; /* fd -1: frames come from ports */
    bool writes, gone;
    uint16_t n_interfaces;
    uint16_t interfaces[SLOTS_MAX]; /* of each slot, and which port it was */
    uint64_t serials[SLOTS_MAX];
    uint64_t captured, lost;
    size_t start, end;
    uint8_t bytes[OUTPUT_ROOM];
};

/* ---- output ---- */

static void end_source(Capture *capture) {
    watched_close(&capture->source);
}

static void write_out(Capture *capture) {
    while (capture->start < capture->end && !capture->gone) {
        ssize_t n = write(capture->output.fd, capture->bytes + capture->start,
                          capture->end - capture->start);
        if (n > 0)
            capture->start += (size_t)n;
        else if (n < 0 && errno == EAGAIN)
            break;
        else if (n == 0 || errno != EINTR)
            capture->gone = true;
    }
    if (capture->start == capture->end || capture->gone)
        capture->start = capture->end = 0;
}

static void on_output(void *data, uint32_t events) {
    Capture *capture = data;
    write_out(capture);
    if (events & (EPOLLERR | EPOLLHUP))
        capture->gone = true;
    if (capture->gone) {
        capture->output.source = loop_remove(capture->output.source);
        end_source(capture);
    } else if (capture->start == capture->end && capture->writes) {
        capture->writes = false;
        (void)loop_set_events(capture->output.source, 0);
    }
}

static bool make_room(Capture *capture, size_t size) {
    if (OUTPUT_ROOM - capture->end >= size)
        return true;
    write_out(capture);
    memmove(capture->bytes, capture->bytes + capture->start, capture->end - capture->start);
    capture->end -= capture->start;
    capture->start = 0;
    return OUTPUT_ROOM - capture->end >= size;
}

static void write_soon(Capture *capture) {
    if (capture->writes || !capture->output.source)
        return;
    capture->writes = true;
    (void)loop_set_events(capture->output.source, EPOLLOUT);
}

/* ---- blocks: numbers in this machine's order, as the section's magic tells ---- */

static void add_bytes(Capture *capture, const void *data, size_t size) {
    memcpy(capture->bytes + capture->end, data, size);
    capture->end += size;
    for (; size % 4 != 0; size++) /* everything in a block is padded to 32 bits */
        capture->bytes[capture->end++] = 0;
}

static void add_u32(Capture *capture, uint32_t value) {
    add_bytes(capture, &value, sizeof(value));
}

static void add_option(Capture *capture, uint16_t code, const void *data, size_t size) {
    uint16_t head[2] = {code, (uint16_t)size};
    add_bytes(capture, head, sizeof(head));
    add_bytes(capture, data, size);
}

static void end_options(Capture *capture) {
    add_u32(capture, 0); /* opt_endofopt: code 0, no bytes */
}

static size_t padded(size_t size) {
    return (size + 3) & ~(size_t)3;
}

static void add_section(Capture *capture) {
    static const uint32_t size = 28, unknown = UINT32_MAX;
    uint16_t version[2] = {1, 0};
    add_u32(capture, BLOCK_SECTION);
    add_u32(capture, size);
    add_u32(capture, 0x1a2b3c4d);
    add_bytes(capture, version, sizeof(version));
    add_u32(capture, unknown);
    add_u32(capture, unknown);
    add_u32(capture, size);
}

static bool add_interface(Capture *capture, const char *name) {
    uint32_t size = (uint32_t)(20 + 4 + padded(strlen(name)) + 4);
    uint16_t link[2] = {LINK_ETHERNET, 0};
    if (!make_room(capture, size))
        return false;
    add_u32(capture, BLOCK_INTERFACE);
    add_u32(capture, size);
    add_bytes(capture, link, sizeof(link));
    add_u32(capture, 0);                        /* no limit of a frame's length */
    add_option(capture, 2, name, strlen(name)); /* if_name */
    end_options(capture);
    add_u32(capture, size);
    return true;
}

static bool add_packet(Capture *capture, uint16_t interface, CaptureDirection direction,
                       const uint8_t *frame, size_t frame_size) {
    uint32_t size = (uint32_t)(32 + padded(frame_size) + 8 + 4);
    uint32_t flags = direction == CAPTURE_FROM_GUEST ? 1 : 2; /* in, out: as the switch sees it */
    uint64_t now = clock_realtime_usec();
    if (!make_room(capture, size))
        return false;
    add_u32(capture, BLOCK_PACKET);
    add_u32(capture, size);
    add_u32(capture, interface);
    add_u32(capture, (uint32_t)(now >> 32));
    add_u32(capture, (uint32_t)now);
    add_u32(capture, (uint32_t)frame_size);
    add_u32(capture, (uint32_t)frame_size);
    add_bytes(capture, frame, frame_size);
    add_option(capture, 2, &flags, sizeof(flags)); /* epb_flags */
    end_options(capture);
    add_u32(capture, size);
    return true;
}

/* ---- frames ---- */

static const char *interface_name(const Port *port) {
    if (!port)
        return "uplink";
    return port->lease.name[0] ? port->lease.name : port->lease.id;
}

/* NO_INTERFACE: there is no room to name it. A slot that another port has now is a new one. */
static uint16_t find_interface(Capture *capture, const Port *port) {
    uint16_t slot = port ? port->slot : SLOT_GATEWAY;
    uint64_t serial = port ? port->lease.serial : 0;
    if (capture->interfaces[slot] != NO_INTERFACE && capture->serials[slot] == serial)
        return capture->interfaces[slot];
    if (capture->n_interfaces == NO_INTERFACE || !add_interface(capture, interface_name(port)))
        return NO_INTERFACE;
    capture->serials[slot] = serial;
    return capture->interfaces[slot] = capture->n_interfaces++;
}

static bool wants(const Capture *capture, const Port *port, CaptureDirection direction) {
    if (capture->serial != 0)
        return port && port->lease.serial == capture->serial;
    return direction == CAPTURE_FROM_GUEST;
}

static void capture_one(Capture *capture, const Port *port, CaptureDirection direction,
                        const uint8_t *frame, size_t size) {
    uint16_t interface = find_interface(capture, port);
    if (interface != NO_INTERFACE && add_packet(capture, interface, direction, frame, size))
        capture->captured++;
    else
        capture->lost++;
    write_soon(capture);
}

void capture_frame(Switch *net, const Port *port, CaptureDirection direction, const uint8_t *frame,
                   size_t size) {
    for (size_t i = 0; i < SWITCH_CAPTURES_MAX; i++) {
        Capture *capture = net->captures[i];
        if (capture && !capture->gone && wants(capture, port, direction))
            capture_one(capture, port, direction, frame, size);
    }
}

/* ---- frames of a bridge of the host's ---- */

/* A frame that the host sends may be one of many segments still. */
static ssize_t receive_frame(int fd, uint8_t frame[FRAME_OF_HOST_MAX], bool *to_guest) {
    struct sockaddr_ll from = {.sll_family = AF_PACKET};
    socklen_t size = sizeof(from);
    ssize_t n =
        recvfrom(fd, frame, FRAME_OF_HOST_MAX, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
    *to_guest = from.sll_pkttype == PACKET_OUTGOING;
    return n;
}

/* A device that went has no more frames; who reads still waits for its own end. */
static void on_source(void *data, uint32_t events) {
    static uint8_t frame[FRAME_OF_HOST_MAX];
    Capture *capture = data;
    for (unsigned i = 0; i < BATCH; i++) {
        bool to_guest;
        ssize_t n = receive_frame(capture->source.fd, frame, &to_guest);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            end_source(capture);
        if (n < 0)
            break;
        if (add_packet(capture, 0, to_guest ? CAPTURE_TO_GUEST : CAPTURE_FROM_GUEST, frame,
                       (size_t)n))
            capture->captured++;
        else
            capture->lost++;
    }
    write_soon(capture);
}

/* ---- begin and end ---- */

static void capture_free(Capture *capture) {
    write_out(capture);
    end_source(capture);
    watched_close(&capture->output);
    free(capture);
}

/* Those that nobody reads any more make room. */
static Capture **find_place(Switch *net) {
    for (size_t i = 0; i < SWITCH_CAPTURES_MAX; i++) {
        if (net->captures[i] && net->captures[i]->gone) {
            capture_free(net->captures[i]);
            net->captures[i] = NULL;
        }
        if (!net->captures[i])
            return &net->captures[i];
    }
    return NULL;
}

/* NULL: the whole network. */
static int find_port(const Switch *net, const char *id, const Port **port, Error *error) {
    *port = id[0] ? table_find_id(net, id) : NULL;
    if (id[0] && !*port)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no port %s", id);
    return 0;
}

static int check_output(int fd, Error *error) {
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0 || !(S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode)))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "a capture needs a pipe or socket to write to");
    int r = fd_set_nonblocking(fd, true);
    return r < 0 ? error_set_errno(error, -r, "cannot write captures without waiting") : 0;
}

static Capture *capture_new(Switch *net, int fd, const Port *port) {
    Capture *made = calloc(1, sizeof(*made));
    if (!made)
        return NULL;
    made->owner = net;
    made->serial = port ? port->lease.serial : 0;
    made->output.fd = fd;
    made->source.fd = -1;
    str_set(made->name, port ? interface_name(port) : net->network.name);
    memset(made->interfaces, 0xff, sizeof(made->interfaces));
    if (watched_add(net->loop, &made->output, EPOLLOUT, on_output, made) < 0) {
        free(made);
        return NULL;
    }
    made->writes = true;
    add_section(made);
    return made;
}

int capture_start(Switch *net, const char *id, int output_fd, uint64_t *number, Error *error) {
    const Port *port;
    int r = find_port(net, id, &port, error);
    if (r == 0)
        r = check_output(output_fd, error);
    if (r < 0)
        return r;
    Capture **place = find_place(net);
    if (!place)
        return error_set(error, ERROR_CONFLICT, EBUSY, "there are %u captures already",
                         SWITCH_CAPTURES_MAX);
    Capture *made = capture_new(net, output_fd, port);
    if (!made)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "no memory for a capture");
    made->number = ++net->capture_serial;
    *place = made;
    *number = made->number;
    return 0;
}

static int find_capture(Switch *net, uint64_t number, Capture ***place, Error *error) {
    for (size_t i = 0; i < SWITCH_CAPTURES_MAX; i++)
        if (net->captures[i] && net->captures[i]->number == number) {
            *place = &net->captures[i];
            return 0;
        }
    return error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no capture %llu",
                     (unsigned long long)number);
}

static int check_packet_socket(int fd, Error *error) {
    int family = 0;
    socklen_t size = sizeof(family);
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0 || family != AF_PACKET)
        return error_set(error, ERROR_USAGE, EINVAL, "a capture takes frames from a packet socket");
    return 0;
}

int capture_from(Switch *net, uint64_t number, int packet_fd, Error *error) {
    Capture **place = NULL;
    int r = find_capture(net, number, &place, error);
    if (r == 0)
        r = check_packet_socket(packet_fd, error);
    if (r < 0)
        return r;
    Capture *capture = *place;
    if (capture->n_interfaces > 0 || !add_interface(capture, capture->name))
        return error_set(error, ERROR_CONFLICT, EBUSY, "the capture has its frames already");
    capture->n_interfaces = 1;
    write_soon(capture);
    capture->source.fd = packet_fd;
    r = watched_add(net->loop, &capture->source, EPOLLIN, on_source, capture);
    if (r < 0)
        capture->source.fd = -1;
    return r < 0 ? error_set_errno(error, -r, "cannot wait for frames") : 0;
}

int capture_end(Switch *net, uint64_t number, uint64_t *captured, uint64_t *lost, Error *error) {
    Capture **place = NULL;
    int r = find_capture(net, number, &place, error);
    if (r < 0)
        return r;
    *captured = (*place)->captured;
    *lost = (*place)->lost;
    capture_free(*place);
    *place = NULL;
    return 0;
}

void captures_free(Switch *net) {
    for (size_t i = 0; i < SWITCH_CAPTURES_MAX; i++)
        if (net->captures[i]) {
            capture_free(net->captures[i]);
            net->captures[i] = NULL;
        }
}
