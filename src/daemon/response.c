/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/response.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/fd.h"
#include "base/log.h"
#include "proto/frame.h"

static void give_up(Response *response, const char *why) {
    log_debug("giving up a client's stream: %s", why);
    response->broken = true;
    (void)shutdown(response->fd, SHUT_RDWR);
}

/* Waits until the client takes more. */
static bool wait_writable(Response *response, uint64_t deadline_usec) {
    struct pollfd pollfd = {.fd = response->fd, .events = POLLOUT};
    for (;;) {
        int r = poll(&pollfd, 1, clock_poll_timeout(deadline_usec));
        if (r > 0)
            return true;
        if (r == 0 || errno != EINTR) {
            give_up(response, "it does not read");
            return false;
        }
    }
}

/* Takes `sent` bytes off the front of the list. */
static void skip_sent(struct msghdr *message, size_t sent) {
    while (message->msg_iovlen > 0 && sent >= message->msg_iov->iov_len) {
        sent -= message->msg_iov->iov_len;
        message->msg_iov++;
        message->msg_iovlen--;
    }
    if (message->msg_iovlen > 0) {
        message->msg_iov->iov_base = (char *)message->msg_iov->iov_base + sent;
        message->msg_iov->iov_len -= sent;
    }
}

static void write_parts(Response *response, struct iovec *parts, size_t n_parts) {
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = n_parts};
    uint64_t deadline_usec = clock_monotonic_usec() + RESPONSE_STALL_USEC;
    while (message.msg_iovlen > 0 && !response->broken) {
        ssize_t n = sendmsg(response->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            skip_sent(&message, (size_t)n);
            deadline_usec = clock_monotonic_usec() + RESPONSE_STALL_USEC;
        } else if (errno == EAGAIN) {
            (void)wait_writable(response, deadline_usec);
        } else if (errno != EINTR) {
            give_up(response, strerror(errno));
        }
    }
}

static void write_text(Response *response, const char *text) {
    struct iovec part = {.iov_base = (char *)text, .iov_len = strlen(text)};
    write_parts(response, &part, 1);
}

void response_begin(Response *response, int fd, bool chunked, const char *content_type,
                    const char *note) {
    char head[512];

    *response = (Response){.fd = fd, .chunked = chunked};
    (void)snprintf(head, sizeof(head),
                   "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s%s%s%sConnection: close\r\n\r\n",
                   content_type, note ? "Ramet-Note: " : "", note ? note : "", note ? "\r\n" : "",
                   chunked ? "Transfer-Encoding: chunked\r\n" : "");
    write_text(response, head);
}

void response_upgrade(Response *response, int fd) {
    *response = (Response){.fd = fd, .frames = true};
    write_text(response, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                         "Upgrade: ramet-stream\r\n\r\n");
}

void response_send(Response *response, const void *data, size_t size) {
    char header[24];
    struct iovec parts[3] = {{.iov_base = header},
                             {.iov_base = (void *)data, .iov_len = size},
                             {.iov_base = (char *)"\r\n", .iov_len = 2}};
    if (size == 0 || response->broken) /* an empty chunk would end the body */
        return;
    if (!response->chunked) {
        write_parts(response, parts + 1, 1);
        return;
    }
    parts[0].iov_len = (size_t)snprintf(header, sizeof(header), "%zx\r\n", size);
    write_parts(response, parts, 3);
}

void response_send_line(Response *response, const json_t *json) {
    _cleanup_free_ char *text = json_to_text(json);
    size_t size = strlen(text);
    text[size] = '\n'; /* in place of the NUL: the line goes out with its size */
    response_send(response, text, size + 1);
}

void response_send_frame(Response *response, uint8_t type, const json_t *json) {
    _cleanup_free_ char *text = json_to_text(json);
    size_t size = strlen(text);
    uint8_t header[FRAME_HEADER_SIZE];
    struct iovec parts[2] = {{.iov_base = header, .iov_len = sizeof(header)},
                             {.iov_base = text, .iov_len = size}};
    if (size > FRAME_PAYLOAD_MAX) {
        give_up(response, "an object does not fit a frame");
        return;
    }
    frame_encode_header(header, 0, 0, type, (uint32_t)size);
    write_parts(response, parts, 2);
}

void response_close(Response *response) {
    if (response->fd < 0)
        return;
    if (response->chunked && !response->broken)
        write_text(response, "0\r\n\r\n");
    response->fd = fd_close(response->fd);
}
