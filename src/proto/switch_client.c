/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/switch_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"

typedef struct Answer {
    SwitchMessage message;
    size_t size;
    uint8_t bytes[SWITCH_MESSAGE_MAX];
} Answer;

int switch_client_connect(const char *path, int *fd, Error *error) {
    int made = fd_unix_connect(path, SOCK_SEQPACKET);
    if (made < 0)
        return error_set_errno(error, -made, "cannot connect to the switch at %s", path);
    *fd = made;
    return 0;
}

static int wait_answer(int fd, Error *error) {
    uint64_t deadline = clock_monotonic_usec() + SWITCH_CLIENT_TIMEOUT_USEC;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int n;
    do {
        n = poll(&poll_fd, 1, clock_poll_timeout(deadline));
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return error_set_errno(error, errno, "cannot wait for the switch's answer");
    return n > 0
               ? 0
               : error_set(error, ERROR_TIMEOUT, ETIMEDOUT, "the switch did not answer within %u s",
                           SWITCH_CLIENT_TIMEOUT_USEC / 1000000u);
}

static int refused(const SwitchMessage *message, Error *error) {
    int r = error_set(error, error_kind_from_code(message->code),
                      message->errnum ? (int)message->errnum : EIO, "%s",
                      message->message[0] ? message->message : "the switch gave no reason");
    if (message->hint[0])
        error_set_hint(error, "%s", message->hint);
    return r;
}

static int receive_answer(int fd, Answer *answer, Error *error) {
    size_t n_fds = 0;
    int r = wait_answer(fd, error);
    if (r < 0)
        return r;
    ssize_t size = fd_receive_message(fd, answer->bytes, sizeof(answer->bytes), NULL, &n_fds);
    if (size < 0)
        return error_set_errno(error, (int)-size, "cannot read the switch's answer");
    if (size == 0)
        return error_set(error, ERROR_FAILED, EPIPE, "the switch ended");
    answer->size = (size_t)size;
    r = switch_message_read(answer->bytes, answer->size, &answer->message, error);
    if (r < 0)
        return error_add_context(error, "the switch's answer");
    if (answer->message.number == SWITCH_ERROR)
        return refused(&answer->message, error);
    return 0;
}

static int ask(int fd, SwitchOperation operation, SwitchMessage *request, unsigned parts,
               int pass_fd, Answer *answer, Error *error) {
    uint8_t bytes[sizeof(*request) * 2];
    request->number = (uint16_t)operation;
    int size = switch_message_write(request, parts, bytes, sizeof(bytes));
    if (size < 0)
        return error_set_errno(error, -size, "cannot write a request to the switch");
    ssize_t sent = fd_send_message(fd, bytes, (size_t)size, &pass_fd, pass_fd >= 0 ? 1 : 0);
    if (sent < 0)
        return error_set_errno(error, (int)-sent, "cannot send a request to the switch");
    return receive_answer(fd, answer, error);
}

/* For requests whose answer says no more than that it was done. */
static int tell(int fd, SwitchOperation operation, SwitchMessage *request, unsigned parts,
                int pass_fd, Error *error) {
    Answer answer;
    return ask(fd, operation, request, parts, pass_fd, &answer, error);
}

int switch_client_hello(int fd, uint64_t *pid, Error *error) {
    SwitchMessage request = {.version = SWITCH_PROTOCOL_VERSION};
    Answer answer;
    int r = ask(fd, SWITCH_HELLO, &request, SWITCH_PART_PLAIN, -1, &answer, error);
    if (r < 0)
        return r;
    if (answer.message.version != SWITCH_PROTOCOL_VERSION)
        return error_set(error, ERROR_UNSUPPORTED, EPROTONOSUPPORT,
                         "the switch is of another version (%s)", answer.message.ramet);
    if (pid)
        *pid = answer.message.pid;
    return 0;
}

int switch_client_set_network(int fd, const SwitchNetwork *network, Error *error) {
    SwitchMessage request = {.network = *network};
    return tell(fd, SWITCH_NETWORK, &request, SWITCH_PART_NETWORK, -1, error);
}

int switch_client_get_network(int fd, SwitchNetwork *network, SwitchCounters *counters,
                              SwitchImpair *impair, bool *held, Error *error) {
    SwitchMessage request = {0};
    Answer answer;
    int r = ask(fd, SWITCH_GET_NETWORK, &request, 0, -1, &answer, error);
    if (r < 0)
        return r;
    if (network)
        *network = answer.message.network;
    if (counters)
        *counters = answer.message.counters;
    if (impair)
        *impair = answer.message.impair;
    if (held)
        *held = answer.message.held;
    return 0;
}

int switch_client_set_port(int fd, const SwitchPort *port, const SwitchImpair *impair,
                           const SwitchLimit *limit, int port_fd, Error *error) {
    SwitchMessage request = {.port = *port};
    unsigned parts = SWITCH_PART_PORT;
    if (impair) {
        request.impair = *impair;
        parts |= SWITCH_PART_IMPAIR;
    }
    if (limit) {
        request.limit = *limit;
        parts |= SWITCH_PART_LIMIT;
    }
    return tell(fd, SWITCH_PORT, &request, parts, port_fd, error);
}

int switch_client_remove_port(int fd, const char *id, Error *error) {
    SwitchMessage request = {0};
    str_set(request.id, id);
    return tell(fd, SWITCH_REMOVE_PORT, &request, SWITCH_PART_PLAIN, -1, error);
}

typedef struct Listing {
    SwitchItemHandler handler;
    void *data;     /* borrowed */
    uint64_t after; /* for the next request */
    bool any;       /* was in this answer */
} Listing;

static int on_port(void *data, const SwitchMessage *item) {
    Listing *listing = data;
    listing->any = true;
    listing->after = item->port.serial;
    return listing->handler(listing->data, item);
}

static int on_forward(void *data, const SwitchMessage *item) {
    Listing *listing = data;
    listing->any = true;
    listing->after++;
    return listing->handler(listing->data, item);
}

static int list(int fd, SwitchOperation operation, SwitchItemHandler on_item, Listing *listing,
                Error *error) {
    Answer answer;
    int r;
    do {
        SwitchMessage request = {.after = listing->after};
        listing->any = false;
        r = ask(fd, operation, &request, SWITCH_PART_PLAIN, -1, &answer, error);
        if (r == 0)
            r = switch_message_items(answer.bytes, answer.size, on_item, listing, error);
    } while (r >= 0 && listing->any);
    return r;
}

int switch_client_list_ports(int fd, SwitchItemHandler handler, void *data, Error *error) {
    Listing listing = {.handler = handler, .data = data};
    return list(fd, SWITCH_LIST_PORTS, on_port, &listing, error);
}

int switch_client_add_forward(int fd, const SwitchForward *forward, int socket_fd, Error *error) {
    SwitchMessage request = {.forward = *forward};
    return tell(fd, SWITCH_FORWARD, &request, SWITCH_PART_FORWARD, socket_fd, error);
}

int switch_client_remove_forward(int fd, const SwitchForward *forward, Error *error) {
    SwitchMessage request = {.forward = *forward};
    return tell(fd, SWITCH_REMOVE_FORWARD, &request, SWITCH_PART_FORWARD, -1, error);
}

int switch_client_list_forwards(int fd, SwitchItemHandler handler, void *data, Error *error) {
    Listing listing = {.handler = handler, .data = data};
    return list(fd, SWITCH_LIST_FORWARDS, on_forward, &listing, error);
}

int switch_client_impair(int fd, const char *id, const SwitchImpair *impair, Error *error) {
    SwitchMessage request = {.impair = *impair};
    str_set(request.id, str_or_empty(id));
    return tell(fd, SWITCH_IMPAIR, &request, SWITCH_PART_IMPAIR | SWITCH_PART_PLAIN, -1, error);
}

int switch_client_limit(int fd, const char *id, const SwitchLimit *limit, Error *error) {
    SwitchMessage request = {.limit = *limit};
    str_set(request.id, id);
    return tell(fd, SWITCH_LIMIT, &request, SWITCH_PART_LIMIT | SWITCH_PART_PLAIN, -1, error);
}

int switch_client_capture(int fd, const char *id, int output_fd, uint64_t *capture, Error *error) {
    SwitchMessage request = {0};
    Answer answer;
    str_set(request.id, str_or_empty(id));
    int r = ask(fd, SWITCH_CAPTURE, &request, SWITCH_PART_PLAIN, output_fd, &answer, error);
    if (r == 0)
        *capture = answer.message.capture;
    return r;
}

int switch_client_capture_from(int fd, uint64_t capture, int packet_fd, Error *error) {
    SwitchMessage request = {.capture = capture};
    return tell(fd, SWITCH_CAPTURE_FROM, &request, SWITCH_PART_PLAIN, packet_fd, error);
}

int switch_client_end_capture(int fd, uint64_t capture, uint64_t *captured, uint64_t *lost,
                              Error *error) {
    SwitchMessage request = {.capture = capture};
    Answer answer;
    int r = ask(fd, SWITCH_END_CAPTURE, &request, SWITCH_PART_PLAIN, -1, &answer, error);
    if (r < 0)
        return r;
    if (captured)
        *captured = answer.message.captured;
    if (lost)
        *lost = answer.message.lost;
    return 0;
}

int switch_client_hold(int fd, Error *error) {
    SwitchMessage request = {0};
    return tell(fd, SWITCH_HOLD, &request, 0, -1, error);
}

int switch_client_release(int fd, bool discard, Error *error) {
    SwitchMessage request = {.discard = discard};
    return tell(fd, SWITCH_RELEASE, &request, SWITCH_PART_PLAIN, -1, error);
}

int switch_client_set_names(int fd, int names_fd, Error *error) {
    SwitchMessage request = {.number = 0};
    return tell(fd, SWITCH_NAMES, &request, 0, names_fd, error);
}

int switch_client_quit(int fd, Error *error) {
    SwitchMessage request = {0};
    return tell(fd, SWITCH_QUIT, &request, 0, -1, error);
}
