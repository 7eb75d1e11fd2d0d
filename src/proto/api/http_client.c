/* SPDX-License-Identifier: Apache-2.0 */
/* One request over one connection:
 *
 *     send the head and the body ──▶ read heads until one that is no 1xx ──▶ read the body in
 * pieces
 *
 * A server may answer before it has taken the whole body (too large, no such path): as soon as an
 * answer is there, or the server closes its side, sending stops and the answer is read.
 *
 * The head is looked at with MSG_PEEK and then taken to its last byte exactly, because after an
 * upgrade the next byte belongs to the caller. Every wait ends with the deadline or cancel_fd. */

#include "proto/api/http_client.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define PIECE_MAX (64u * 1024u)

int http_connect(const char *socket_path, int *fd, Error *error) {
    int r = fd_unix_connect(socket_path, SOCK_STREAM);
    if (r < 0) {
        r = error_set_errno(error, -r, "cannot reach ramet's daemon at %s", socket_path);
        error_set_hint(error, "start it with: ramet daemon run");
        return r;
    }
    *fd = r;
    return 0;
}

char *http_encode(const char *text) {
    StrBuf encoded = {0};
    for (const char *p = text; *p; p++) {
        if (isalnum((unsigned char)*p) || strchr("-._~", *p))
            strbuf_add(&encoded, p, 1);
        else
            strbuf_add_format(&encoded, "%%%02X", (unsigned char)*p);
    }
    return strbuf_steal(&encoded);
}

void http_decode(const char *text, size_t size, char *decoded) {
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)text[i];
        char digits[3] = "";
        if (byte == '%' && size - i > 2) {
            memcpy(digits, text + i + 1, 2);
            i += hex_decode(digits, &byte, 1) == 0 ? 2 : 0;
        }
        *decoded++ = byte ? (char)byte : '\x01';
    }
    *decoded = '\0';
}

/* Waits for one of both, -1 for none. The client's own is last. */
static int call_poll(const HttpCall *call, struct pollfd fds[3], Error *error) {
    fds[2] = (struct pollfd){.fd = call->cancel_fd, .events = POLLIN};
    for (;;) {
        int r = poll(fds, 3, clock_poll_timeout(call->deadline_usec));
        if (r < 0 && errno != EINTR)
            return error_set_errno(error, errno, "cannot wait for the daemon");
        if (r == 0)
            return error_set(error, ERROR_TIMEOUT, ETIMEDOUT, "the daemon did not answer in time");
        if (r > 0 && fds[2].revents)
            return error_set(error, ERROR_CANCELLED, ECANCELED, "cancelled");
        if (r > 0)
            return 0;
    }
}

/* Waits for `events` on fd. Returns its revents (> 0). */
static int call_wait(const HttpCall *call, int fd, short events, Error *error) {
    struct pollfd fds[3] = {{.fd = fd, .events = events}, {.fd = -1}};
    int r = call_poll(call, fds, error);
    return r < 0 ? r : fds[0].revents;
}

/* What is to be sent may be silent for ever; the server, which may answer or end meanwhile, is not
 * waited for in vain. Returns 1 when it did, 0 when there is something to send. */
static int wait_for_input(int fd, const HttpCall *call, Error *error) {
    struct pollfd fds[3] = {{.fd = call->body_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    int r = call_poll(call, fds, error);
    return r < 0 ? r : fds[1].revents != 0;
}

/* Sends all of it. Returns 1 when the server answered or closed before that, 0 when it is sent. */
static int send_all(int fd, const HttpCall *call, const void *data, size_t size, Error *error) {
    const char *p = data;
    while (size > 0) {
        ssize_t n;
        int r = call_wait(call, fd, POLLIN | POLLOUT, error);
        if (r < 0)
            return r;
        if (r & (POLLIN | POLLHUP | POLLERR))
            return 1;
        n = send(fd, p, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return 1;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return error_set_errno(error, errno, "cannot send to the daemon");
        if (n > 0) {
            p += n;
            size -= (size_t)n;
        }
    }
    return 0;
}

/* Sends what body_fd gives, as chunks. */
static int send_chunks(int fd, const HttpCall *call, Error *error) {
    _cleanup_free_ char *buffer = malloc(PIECE_MAX);
    if (!buffer)
        return error_set_errno(error, ENOMEM, "cannot send the file");
    for (;;) {
        char header[24];
        ssize_t n;
        int r = wait_for_input(fd, call, error);
        if (r != 0)
            return r;
        n = read(call->body_fd, buffer, PIECE_MAX);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return error_set_errno(error, errno, "cannot read what is to be sent");
        (void)snprintf(header, sizeof(header), "%zx\r\n", (size_t)n);
        r = send_all(fd, call, header, strlen(header), error);
        if (r == 0 && n > 0)
            r = send_all(fd, call, buffer, (size_t)n, error);
        if (r == 0)
            r = send_all(fd, call, "\r\n", 2, error);
        if (r != 0 || n == 0)
            return r;
    }
}

static int send_request(int fd, const HttpCall *call, bool upgrade, Error *error) {
    _cleanup_(strbuf_free) StrBuf head = {0};
    _cleanup_free_ char *body = call->body ? json_to_text(call->body) : NULL;
    int r;
    strbuf_add_format(&head, "%s %s HTTP/1.1\r\nHost: ramet\r\n", call->method, call->path);
    if (upgrade)
        strbuf_add_text(&head, "Connection: Upgrade\r\nUpgrade: ramet-stream\r\n");
    else
        strbuf_add_text(&head, "Connection: close\r\n");
    if (call->on_event)
        strbuf_add_text(&head, "Accept: application/x-ndjson\r\n");
    if (call->body_fd >= 0)
        strbuf_add_text(&head, "Content-Type: application/octet-stream\r\n"
                               "Transfer-Encoding: chunked\r\n");
    else if (body)
        strbuf_add_format(&head, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                          strlen(body));
    else if (strcmp(call->method, "POST") == 0)
        strbuf_add_text(&head, "Content-Length: 0\r\n");
    strbuf_add_text(&head, "\r\n");
    if (body && call->body_fd < 0)
        strbuf_add_text(&head, body);
    r = send_all(fd, call, head.data, head.size, error);
    if (r == 0 && call->body_fd >= 0)
        r = send_chunks(fd, call, error);
    return r < 0 ? r : 0;
}

static int lost(Error *error) {
    int r = error_set(error, ERROR_FAILED, ECONNRESET, "the daemon closed the connection");
    error_set_hint(error, "see its log: rametd.log in RAMET_HOME, or journalctl -u rametd");
    return r;
}

/* recv(2) after a wait; 0 at the end. */
static ssize_t receive(int fd, const HttpCall *call, void *data, size_t size, int flags,
                       Error *error) {
    for (;;) {
        ssize_t n;
        int r = call_wait(call, fd, POLLIN, error);
        if (r < 0)
            return r;
        n = recv(fd, data, size, flags | MSG_DONTWAIT);
        if (n >= 0)
            return n;
        if (errno == ECONNRESET)
            return 0;
        if (errno != EAGAIN && errno != EINTR)
            return error_set_errno(error, errno, "cannot read the daemon's answer");
    }
}

/* Takes one head's bytes, exactly. Returns its size. */
static ssize_t receive_head_text(int fd, const HttpCall *call, char *text, Error *error) {
    size_t size = 0;
    while (size < HTTP_HEADER_MAX) {
        size_t from = size >= 3 ? size - 3 : 0, wanted;
        const char *end;
        ssize_t n = receive(fd, call, text + size, HTTP_HEADER_MAX - size, MSG_PEEK, error);
        if (n < 0)
            return n;
        if (n == 0)
            return lost(error);
        end = memmem(text + from, size + (size_t)n - from, "\r\n\r\n", 4);
        wanted = end ? (size_t)(end + 4 - text) - size : (size_t)n;
        n = receive(fd, call, text + size, wanted, 0, error);
        if (n < 0)
            return n;
        if (n == 0)
            return lost(error);
        size += (size_t)n;
        if (end && (size_t)n == wanted)
            return (ssize_t)size;
    }
    return error_set(error, ERROR_CORRUPT, EMSGSIZE, "broken HTTP answer: its head is too long");
}

static int receive_head(int fd, const HttpCall *call, HttpHead *head, Error *error) {
    _cleanup_free_ char *text = malloc(HTTP_HEADER_MAX);
    if (!text)
        return error_set_errno(error, ENOMEM, "cannot read the daemon's answer");
    for (unsigned interim = 0; interim < 16; interim++) {
        ssize_t n = receive_head_text(fd, call, text, error);
        int r;
        if (n < 0)
            return (int)n;
        r = http_parse_head(text, (size_t)n, head, error);
        if (r < 0)
            return r;
        if (head->status >= 200 || head->status == 101)
            return 0;
    }
    return error_set(error, ERROR_CORRUPT, EBADMSG, "broken HTTP answer: no final status");
}

/* Reads the whole body, piece by piece. */
static int receive_body(int fd, const HttpCall *call, const HttpHead *head, HttpDataHandler on_data,
                        void *data, Error *error) {
    _cleanup_free_ char *buffer = malloc(PIECE_MAX);
    HttpBody body;
    if (!buffer)
        return error_set_errno(error, ENOMEM, "cannot read the daemon's answer");
    http_body_start(&body, head);
    while (!body.done) {
        ssize_t n = receive(fd, call, buffer, PIECE_MAX, 0, error);
        size_t used = 0;
        if (n < 0)
            return (int)n;
        if (n == 0)
            return http_body_finish(&body, error);
        while (used < (size_t)n && !body.done) {
            const char *piece;
            size_t size;
            int r = 0;
            ssize_t taken =
                http_body_next(&body, buffer + used, (size_t)n - used, &piece, &size, error);
            if (taken < 0)
                return (int)taken;
            used += (size_t)taken;
            if (size > 0)
                r = on_data(data, piece, size);
            if (r != 0)
                return r;
        }
    }
    return 0;
}

typedef struct Collector {
    StrBuf text;
    size_t max;
    Error *error;
} Collector;

static int collect(void *data, const void *bytes, size_t size) {
    Collector *collector = data;
    if (collector->text.size + size > collector->max)
        return error_set(collector->error, ERROR_CORRUPT, EMSGSIZE, "the answer is too long");
    strbuf_add(&collector->text, bytes, size);
    return 0;
}

/* A whole body as one JSON document. */
static int receive_document(int fd, const HttpCall *call, const HttpHead *head, json_t **answer,
                            Error *error) {
    Collector collector = {.max = HTTP_JSON_MAX, .error = error};
    int r = receive_body(fd, call, head, collect, &collector, error);
    if (r == 0)
        r = json_parse("the daemon's answer", collector.text.data ? collector.text.data : "",
                       collector.text.size, answer, error);
    if (r < 0 && error && error->kind == ERROR_USAGE)
        error->kind = ERROR_CORRUPT; /* not the user's fault */
    strbuf_free(&collector.text);
    return r;
}

/* An answer other than 2xx: the server's error. */
static int receive_error(int fd, const HttpCall *call, const HttpHead *head, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_error_ Error told = ERROR_INIT;
    int r = receive_document(fd, call, head, &answer, error);
    if (r == -ECANCELED || r == -ETIMEDOUT)
        return r;
    if (r == 0 && json_to_error(answer, &told) == 0)
        return error_move(error, &told);
    return error_set(error, ERROR_FAILED, EIO, "the daemon answered with HTTP status %d",
                     head->status);
}

/* Sends and reads the head; an answer other than 2xx becomes the error. */
static int call_start(int fd, const HttpCall *call, HttpHead *head, Error *error) {
    int r = send_request(fd, call, false, error);
    if (r == 0)
        r = receive_head(fd, call, head, error);
    if (r == 0 && (head->status < 200 || head->status > 299))
        r = receive_error(fd, call, head, error);
    return r;
}

/* Lines of a stream of events. */
typedef struct LineState {
    const HttpCall *call;
    StrBuf line;
    json_t *result; /* owned */
    bool want_result;
    Error *error;
} LineState;

static int parse_line(LineState *state) {
    _cleanup_json_ json_t *line = NULL;
    _cleanup_error_ Error told = ERROR_INIT;
    json_t *result;
    int r;
    if (state->line.size == 0)
        return 0;
    r = json_parse("an event", state->line.data, state->line.size, &line, state->error);
    state->line.size = 0;
    if (r < 0) {
        if (state->error)
            state->error->kind = ERROR_CORRUPT;
        return r;
    }
    if (json_to_error(line, &told) == 0)
        return error_move(state->error, &told);
    result = state->want_result ? json_object_get(line, "result") : NULL;
    if (result) {
        json_decref(state->result);
        state->result = json_incref(result);
        return 0;
    }
    return state->call->on_event ? state->call->on_event(state->call->data, line) : 0;
}

static int split_lines(void *data, const void *bytes, size_t size) {
    LineState *state = data;
    const char *p = bytes;
    while (size > 0) {
        const char *newline = memchr(p, '\n', size);
        size_t n = newline ? (size_t)(newline - p) : size;
        int r;
        if (state->line.size + n > HTTP_LINE_MAX)
            return error_set(state->error, ERROR_CORRUPT, EMSGSIZE, "an event is too long");
        strbuf_add(&state->line, p, n);
        if (!newline)
            return 0;
        r = parse_line(state);
        if (r != 0)
            return r;
        p += n + 1;
        size -= n + 1;
    }
    return 0;
}

static int receive_lines(int fd, const HttpCall *call, const HttpHead *head, bool want_result,
                         json_t **answer, Error *error) {
    LineState state = {.call = call, .want_result = want_result, .error = error};
    int r = receive_body(fd, call, head, split_lines, &state, error);
    if (r == 0)
        r = parse_line(&state);
    if (r == 0 && want_result && !state.result)
        r = lost(error);
    if (r == 0 && answer)
        *answer = TAKE_PTR(state.result);
    strbuf_free(&state.line);
    json_decref(state.result);
    return r;
}

int http_call_json(int fd, const HttpCall *call, json_t **answer, Error *error) {
    _cleanup_json_ json_t *document = NULL;
    HttpHead head;
    int r = call_start(fd, call, &head, error);
    if (r != 0)
        return r;
    if (strcmp(head.content_type, "application/x-ndjson") == 0)
        return receive_lines(fd, call, &head, true, answer, error);
    r = receive_document(fd, call, &head, &document, error);
    if (r == 0 && answer)
        *answer = TAKE_PTR(document);
    return r;
}

int http_call_lines(int fd, const HttpCall *call, Error *error) {
    HttpHead head;
    int r = call_start(fd, call, &head, error);
    return r != 0 ? r : receive_lines(fd, call, &head, false, NULL, error);
}

int http_call_data(int fd, const HttpCall *call, HttpDataHandler on_data, Error *error) {
    HttpHead head;
    int r = call_start(fd, call, &head, error);
    if (r != 0)
        return r;
    if (call->note)
        (void)snprintf(call->note, HTTP_NOTE_SIZE, "%s", head.note);
    return receive_body(fd, call, &head, on_data, call->data, error);
}

int http_call_upgrade(int fd, const HttpCall *call, Error *error) {
    HttpHead head;
    int r = send_request(fd, call, true, error);
    if (r == 0)
        r = receive_head(fd, call, &head, error);
    if (r != 0)
        return r;
    if (head.upgraded)
        return 0;
    if (head.status >= 300)
        return receive_error(fd, call, &head, error);
    return error_set(error, ERROR_CORRUPT, EPROTO, "the daemon did not upgrade the connection");
}
