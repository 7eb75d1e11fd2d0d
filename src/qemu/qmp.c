/* SPDX-License-Identifier: Apache-2.0 */

/* How it works.
 *
 * Input is a byte buffer in which we look for newlines. Each whole line is one JSON object and is
 * one of: the greeting, an event (queued), or a reply. A reply's id is looked up in the table of
 * pending commands; a reply to a command that nobody waits for any more (a deadline passed) is
 * dropped.
 *
 * Invariants: `pending` holds every id that was sent and neither received nor forgotten; a reply
 * without such an id is dropped and changes nothing. Output is written whole before a call goes on,
 * so that commands never mix. Once `broken` is set, nothing is read or written again.
 *
 * A line that is too long, is no JSON object, or is neither greeting, event nor reply breaks the
 * connection: after it nothing that follows can be trusted to belong to what. */

#include "qemu/qmp.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

typedef struct QmpPending {
    uint64_t id;   /* 0: a free slot */
    char name[64]; /* the command, for messages */
    json_t *reply; /* owned; NULL until it came */
} QmpPending;

struct Qmp {
    int fd;               /* owned */
    int broken;           /* negative errno, or 0 */
    char *broken_message; /* owned */
    char *input;          /* owned: bytes that are not a whole line yet */
    size_t input_size;
    size_t input_room;
    size_t scanned; /* so many of them are known to hold no newline */
    uint64_t last_id;
    json_t *greeting;               /* owned */
    json_t *events[QMP_EVENTS_MAX]; /* owned; a ring */
    size_t event_first;
    size_t n_events;
    uint64_t events_lost;
    QmpPending pending[QMP_PENDING_MAX];
};

Qmp *qmp_new(int fd) {
    Qmp *qmp = calloc(1, sizeof(*qmp));
    if (!qmp)
        abort();
    qmp->fd = fd;
    (void)fd_set_nonblocking(fd, true);
    return qmp;
}

void qmp_free(Qmp *qmp) {
    if (!qmp)
        return;
    for (size_t i = 0; i < qmp->n_events; i++)
        json_decref(qmp->events[(qmp->event_first + i) % QMP_EVENTS_MAX]);
    for (size_t i = 0; i < QMP_PENDING_MAX; i++)
        json_decref(qmp->pending[i].reply);
    json_decref(qmp->greeting);
    free(qmp->broken_message);
    free(qmp->input);
    (void)fd_close(qmp->fd);
    free(qmp);
}

int qmp_fd(const Qmp *qmp) {
    return qmp->fd;
}

uint64_t qmp_events_lost(const Qmp *qmp) {
    return qmp->events_lost;
}

/* Marks the connection as lost; the first reason stays. Returns the negative errno. */
static int qmp_break(Qmp *qmp, int errnum, const char *message) {
    if (!qmp->broken) {
        qmp->broken = -errnum;
        qmp->broken_message = str_copy(message);
        (void)shutdown(qmp->fd, SHUT_RDWR);
    }
    return qmp->broken;
}

static int qmp_broken_error(const Qmp *qmp, Error *error) {
    ErrorKind kind = qmp->broken == -EBADMSG ? ERROR_CORRUPT : ERROR_FAILED;
    return error_set(error, kind, -qmp->broken, "%s", qmp->broken_message);
}

/* What QEMU sent */

static void qmp_queue_event(Qmp *qmp, json_t *event) {
    if (qmp->n_events == QMP_EVENTS_MAX) {
        json_decref(qmp->events[qmp->event_first]);
        qmp->event_first = (qmp->event_first + 1) % QMP_EVENTS_MAX;
        qmp->n_events--;
        qmp->events_lost++;
    }
    qmp->events[(qmp->event_first + qmp->n_events) % QMP_EVENTS_MAX] = json_incref(event);
    qmp->n_events++;
}

static QmpPending *qmp_find_pending(Qmp *qmp, uint64_t id) {
    for (size_t i = 0; i < QMP_PENDING_MAX; i++)
        if (qmp->pending[i].id == id)
            return &qmp->pending[i];
    return NULL;
}

/* Only the oldest command is a fair guess for an error without an id: QEMU sends one when it could
 * not parse a command, which it never had reason to do with ours. So such a reply breaks the
 * connection. */
static int qmp_handle_reply(Qmp *qmp, json_t *message) {
    const json_t *id = json_object_get(message, "id");
    QmpPending *pending;
    if (!json_is_integer(id))
        return qmp_break(qmp, EBADMSG, "QEMU's monitor sent a reply without our id");
    if (json_integer_value(id) <= 0)
        return 0;
    pending = qmp_find_pending(qmp, (uint64_t)json_integer_value(id));
    if (pending && !pending->reply)
        pending->reply = json_incref(message);
    return 0;
}

static int qmp_handle_message(Qmp *qmp, json_t *message) {
    if (json_object_get(message, "event")) {
        qmp_queue_event(qmp, message);
        return 0;
    }
    if (json_object_get(message, "return") || json_object_get(message, "error"))
        return qmp_handle_reply(qmp, message);
    if (json_object_get(message, "QMP") && !qmp->greeting) {
        qmp->greeting = json_incref(message);
        return 0;
    }
    return qmp_break(qmp, EBADMSG, "QEMU's monitor sent something that is no reply and no event");
}

static int qmp_parse_line(Qmp *qmp, const char *line, size_t size) {
    _cleanup_json_ json_t *message = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    while (size > 0 && (line[size - 1] == '\r' || line[size - 1] == ' '))
        size--;
    if (size == 0)
        return 0;
    if (json_parse("QEMU's monitor message", line, size, &message, &error) < 0)
        return qmp_break(qmp, EBADMSG, error_message(&error));
    if (!json_is_object(message))
        return qmp_break(qmp, EBADMSG, "QEMU's monitor sent something that is no object");
    return qmp_handle_message(qmp, message);
}

/* Takes every whole line out of the buffer. */
static int qmp_parse_input(Qmp *qmp) {
    size_t start = 0;
    int r = 0;
    while (r == 0) {
        char *end = memchr(qmp->input + qmp->scanned, '\n', qmp->input_size - qmp->scanned);
        if (!end)
            break;
        r = qmp_parse_line(qmp, qmp->input + start, (size_t)(end - (qmp->input + start)));
        start = qmp->scanned = (size_t)(end - qmp->input) + 1;
    }
    memmove(qmp->input, qmp->input + start, qmp->input_size - start);
    qmp->input_size -= start;
    qmp->scanned = qmp->input_size;
    if (r == 0 && qmp->input_size >= QMP_LINE_MAX)
        r = qmp_break(qmp, EBADMSG, "QEMU's monitor sent a line that is too long");
    return r;
}

static void qmp_make_room(Qmp *qmp) {
    size_t room = qmp->input_room ? qmp->input_room * 2 : 16 * KIB;
    if (qmp->input_room - qmp->input_size >= 4 * KIB)
        return;
    qmp->input = realloc(qmp->input, room);
    if (!qmp->input)
        abort();
    qmp->input_room = room;
}

/* Reads once. 1: something came; 0: nothing there; negative: broken. */
static int qmp_read_once(Qmp *qmp) {
    ssize_t n;
    int r;
    if (qmp->broken)
        return qmp->broken;
    qmp_make_room(qmp);
    do
        n = recv(qmp->fd, qmp->input + qmp->input_size, qmp->input_room - qmp->input_size, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        return qmp_break(qmp, ECONNRESET, "QEMU ended: its monitor is closed");
    qmp->input_size += (size_t)n;
    r = qmp_parse_input(qmp);
    return r < 0 ? r : 1;
}

int qmp_process(Qmp *qmp, Error *error) {
    int r;
    do
        r = qmp_read_once(qmp);
    while (r > 0);
    return r < 0 ? qmp_broken_error(qmp, error) : 0;
}

/* Waiting */

/* Waits until the socket is ready. -ETIMEDOUT at the deadline. */
static int qmp_poll(Qmp *qmp, short events, uint64_t deadline_usec) {
    struct pollfd poll_fd = {.fd = qmp->fd, .events = events};
    int r;
    do
        r = poll(&poll_fd, 1, clock_poll_timeout(deadline_usec));
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    return r == 0 ? -ETIMEDOUT : 0;
}

/* Reads, waiting at most until the deadline. 0 when something came. */
static int qmp_read_more(Qmp *qmp, uint64_t deadline_usec, const char *what, Error *error) {
    for (;;) {
        int r = qmp_read_once(qmp);
        if (r > 0)
            return 0;
        if (r < 0)
            return qmp_broken_error(qmp, error);
        r = qmp_poll(qmp, POLLIN, deadline_usec);
        if (r == -ETIMEDOUT)
            return error_set(error, ERROR_TIMEOUT, ETIMEDOUT,
                             "QEMU did not answer in time: waited for %s", what);
        if (r < 0)
            return error_set_errno(error, -r, "cannot wait for QEMU's monitor");
    }
}

/* Sending */

/* One sendmsg of what is left; the descriptor goes with the first byte. */
static ssize_t qmp_send_some(Qmp *qmp, const char *data, size_t size, int fd) {
    if (fd >= 0)
        return fd_send_message(qmp->fd, data, size, &fd, 1);
    for (;;) {
        ssize_t n = send(qmp->fd, data, size, MSG_NOSIGNAL);
        if (n >= 0 || errno != EINTR)
            return n >= 0 ? n : -errno;
    }
}

/* While QEMU does not take our bytes it may be waiting for us to take its own: so read, too. */
static int qmp_write(Qmp *qmp, const char *data, size_t size, int fd, uint64_t deadline_usec,
                     Error *error) {
    bool started = false;
    while (size > 0) {
        ssize_t n = qmp_send_some(qmp, data, size, fd);
        int r;
        if (n >= 0) {
            data += n;
            size -= (size_t)n;
            fd = -1;
            started = true;
            continue;
        }
        if (n != -EAGAIN) {
            (void)qmp_break(qmp, ECONNRESET, "QEMU ended: its monitor takes no commands");
            return qmp_broken_error(qmp, error);
        }
        r = qmp_poll(qmp, POLLOUT | POLLIN, deadline_usec);
        if (r == 0 && qmp_read_once(qmp) < 0)
            return qmp_broken_error(qmp, error);
        if (r < 0 && started) /* half a command is out: nothing can follow it */
            (void)qmp_break(qmp, -r, "QEMU's monitor stopped taking a command halfway");
        if (r < 0)
            return error_set(error, ERROR_TIMEOUT, -r, "QEMU's monitor takes no commands");
    }
    return 0;
}

static char *qmp_command_text(const char *command, const json_t *arguments, uint64_t id) {
    _cleanup_json_ json_t *message =
        json_pack("{s:s, s:I}", "execute", command, "id", (json_int_t)id);
    _cleanup_free_ char *text = NULL;
    if (!message || (arguments && json_object_set(message, "arguments", (json_t *)arguments) < 0))
        abort();
    text = json_to_text(message);
    return str_format("%s\n", text);
}

int qmp_send(Qmp *qmp, const char *command, const json_t *arguments, int fd, uint64_t deadline_usec,
             uint64_t *id, Error *error) {
    QmpPending *pending = qmp_find_pending(qmp, 0);
    _cleanup_free_ char *text = NULL;
    int r;
    if (qmp->broken)
        return qmp_broken_error(qmp, error);
    if (!pending)
        return error_set(error, ERROR_FAILED, EBUSY, "too many monitor commands without a reply");
    text = qmp_command_text(command, arguments, qmp->last_id + 1);
    r = qmp_write(qmp, text, strlen(text), fd, deadline_usec, error);
    if (r < 0)
        return r;
    pending->id = ++qmp->last_id;
    (void)snprintf(pending->name, sizeof(pending->name), "%s", command);
    *id = pending->id;
    return 0;
}

void qmp_forget(Qmp *qmp, uint64_t id) {
    QmpPending *pending = id ? qmp_find_pending(qmp, id) : NULL;
    if (!pending)
        return;
    json_decref(pending->reply);
    *pending = (QmpPending){0};
}

/* QEMU's error object as ours. */
static int qmp_reply_error(const char *command, const json_t *object, Error *error) {
    const char *class = json_string_value(json_object_get(object, "class"));
    const char *desc = json_string_value(json_object_get(object, "desc"));
    _cleanup_free_ char *text =
        str_sanitize(desc ? desc : "no reason given", desc ? strlen(desc) : 15);
    if (str_equal(class, "CommandNotFound"))
        return error_set(error, ERROR_UNSUPPORTED, ENOSYS, "QMP %s: %s", command, text);
    if (str_equal(class, "DeviceNotFound"))
        return error_set(error, ERROR_FAILED, ENODEV, "QMP %s: %s", command, text);
    return error_set(error, ERROR_FAILED, EREMOTEIO, "QMP %s: %s", command, text);
}

static int qmp_steal_result(QmpPending *pending, json_t **result, Error *error) {
    const json_t *failure = json_object_get(pending->reply, "error");
    if (failure)
        return qmp_reply_error(pending->name, failure, error);
    if (result)
        *result = json_incref(json_object_get(pending->reply, "return"));
    return 0;
}

int qmp_receive(Qmp *qmp, uint64_t id, uint64_t deadline_usec, json_t **result, Error *error) {
    QmpPending *pending = id ? qmp_find_pending(qmp, id) : NULL;
    int r = 0;
    if (!pending)
        return error_set(error, ERROR_FAILED, EINVAL, "no monitor command %llu is under way",
                         (unsigned long long)id);
    while (r == 0 && !pending->reply)
        r = qmp_read_more(qmp, deadline_usec, pending->name, error);
    if (pending->reply)
        r = qmp_steal_result(pending, result, error);
    qmp_forget(qmp, id);
    return r;
}

int qmp_call_fd(Qmp *qmp, const char *command, const json_t *arguments, int fd,
                uint64_t deadline_usec, json_t **result, Error *error) {
    uint64_t id;
    int r = qmp_send(qmp, command, arguments, fd, deadline_usec, &id, error);
    return r < 0 ? r : qmp_receive(qmp, id, deadline_usec, result, error);
}

int qmp_call(Qmp *qmp, const char *command, const json_t *arguments, uint64_t deadline_usec,
             json_t **result, Error *error) {
    return qmp_call_fd(qmp, command, arguments, -1, deadline_usec, result, error);
}

int qmp_greeting(Qmp *qmp, uint64_t deadline_usec, json_t **greeting, Error *error) {
    int r = 0;
    while (r == 0 && !qmp->greeting)
        r = qmp_read_more(qmp, deadline_usec, "its greeting", error);
    if (r == 0)
        r = qmp_call(qmp, "qmp_capabilities", NULL, deadline_usec, NULL, error);
    if (r == 0 && greeting)
        *greeting = json_incref(qmp->greeting);
    return r;
}

/* Events */

const char *qmp_event_name(const json_t *event) {
    const char *name = json_string_value(json_object_get(event, "event"));
    return name ? name : "";
}

/* Takes the event at `index` from the oldest out of the queue. */
static json_t *qmp_steal_event(Qmp *qmp, size_t index) {
    json_t *event = qmp->events[(qmp->event_first + index) % QMP_EVENTS_MAX];
    for (size_t i = index; i > 0; i--)
        qmp->events[(qmp->event_first + i) % QMP_EVENTS_MAX] =
            qmp->events[(qmp->event_first + i - 1) % QMP_EVENTS_MAX];
    qmp->event_first = (qmp->event_first + 1) % QMP_EVENTS_MAX;
    qmp->n_events--;
    return event;
}

json_t *qmp_next_event(Qmp *qmp) {
    return qmp->n_events ? qmp_steal_event(qmp, 0) : NULL;
}

static json_t *qmp_steal_named(Qmp *qmp, const char *const *names) {
    for (size_t i = 0; i < qmp->n_events; i++) {
        const char *name = qmp_event_name(qmp->events[(qmp->event_first + i) % QMP_EVENTS_MAX]);
        for (const char *const *wanted = names; *wanted; wanted++)
            if (str_equal(name, *wanted))
                return qmp_steal_event(qmp, i);
    }
    return NULL;
}

int qmp_wait_event(Qmp *qmp, const char *const *names, uint64_t deadline_usec, json_t **event,
                   Error *error) {
    for (;;) {
        json_t *found = qmp_steal_named(qmp, names);
        int r;
        if (found) {
            *event = found;
            return 0;
        }
        r = qmp_read_more(qmp, deadline_usec, names[0], error);
        if (r < 0)
            return r;
    }
}
