/* SPDX-License-Identifier: Apache-2.0 */
/* From a checked request to its answer.
 *
 * A plain answer goes out through the HTTP library. Streams (events of long work, followed logs,
 * the client's stream after an upgrade) do not: the library would want them from a callback, so
 * that the work would need a second thread and a queue. Instead the request takes the socket away:
 * it keeps a duplicate, and puts one end of a socket pair that leads nowhere in the place of the
 * original descriptor. The library later shuts that down and closes it as its own, whichever way it
 * does such things, and the client's socket lives on with whom we hand it to. Thus a handler stays
 * one straight-line function in one thread, and it may give the stream to a keeper and forget it.
 *
 * What a guest sends is not for this program: where a client of plain HTTP asks for it, the keeper
 * gets the socket before anything was answered, and writes the whole response
 * (keeper/api/answer.h).
 *
 * A stream of events opens with its first event. What fails before that is an ordinary HTTP error.
 */

#include "daemon/request.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "proto/agent.h"

const char *request_text(const Request *request, const char *name) {
    return json_string_value(json_object_get(request->input, name));
}

const json_t *request_list(const Request *request, const char *name) {
    const json_t *value = json_object_get(request->input, name);
    return json_array_size(value) > 0 ? value : NULL;
}

uint64_t request_number(const Request *request, const char *name, uint64_t otherwise) {
    const json_t *value = json_object_get(request->input, name);
    return json_is_integer(value) ? (uint64_t)json_integer_value(value) : otherwise;
}

bool request_flag(const Request *request, const char *name) {
    return json_is_true(json_object_get(request->input, name));
}

static int connection_socket(struct MHD_Connection *connection) {
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

int request_steal_socket(Request *request, int *fd, Error *error) {
    _cleanup_close_ int taken = -1;
    int socket = connection_socket(request->connection), pair[2], r;
    taken = fcntl(socket, F_DUPFD_CLOEXEC, 0);
    if (taken < 0)
        return error_set_errno(error, errno, "cannot take the connection");
    r = fd_socketpair(SOCK_STREAM, pair);
    if (r < 0)
        return error_set_errno(error, -r, "cannot take the connection");
    (void)fd_close(pair[1]);
    r = dup3(pair[0], socket, O_CLOEXEC) < 0 ? -errno : 0;
    (void)fd_close(pair[0]);
    if (r < 0)
        return error_set_errno(error, -r, "cannot take the connection");
    *fd = TAKE_FD(taken);
    return 0;
}

void request_return_socket(Request *request, int fd) {
    if (dup3(fd, connection_socket(request->connection), O_CLOEXEC) < 0)
        log_warning("cannot give a connection back: %s", strerror(errno));
    (void)fd_close(fd);
}

int request_open_stream(Request *request, const char *content_type, Error *error) {
    int fd = -1, r = request_steal_socket(request, &fd, error);
    if (r < 0)
        return r;
    if (content_type)
        response_begin(&request->response, fd, request->chunks, content_type, request->note);
    else
        response_upgrade(&request->response, fd);
    request->operation.cancel_fd = fd;
    return 0;
}

/* An event of the operation, as a line of the response. */
static void send_event(void *data, const json_t *event) {
    Request *request = data;
    _cleanup_error_ Error error = ERROR_INIT;
    if (request->response.fd < 0 &&
        request_open_stream(request, "application/x-ndjson", &error) < 0) {
        log_warning("%s", error_message(&error));
        return;
    }
    response_send_line(&request->response, event);
}

static void finish_stream(Request *request, int r, const json_t *answer, const Error *error) {
    _cleanup_json_ json_t *failure = r < 0 ? json_from_error(error) : NULL;
    _cleanup_json_ json_t *result = NULL;
    Response *response = &request->response;
    if (response->frames) {
        if (failure)
            response_send_frame(response, FRAME_ERROR, failure);
    } else if (request->row->answer == API_ANSWER_JSON) {
        result = answer ? json_pack("{s:O}", "result", answer) : json_pack("{s:{}}", "result");
        response_send_line(response, failure ? failure : result);
    } else if (failure && request->row->answer == API_ANSWER_LINES) {
        response_send_line(response, failure);
    } else if (failure) {
        log_debug("%s ended early: %s", request->row->name, error_message(error));
        response->chunked = false; /* a body without its end tells the client that it was cut */
    }
    response_close(response);
}

static void log_failure(const Request *request, const Error *error) {
    LogLevel level = error->kind == ERROR_FAILED ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG;
    log_message(level, "%s %s: %s", request->row->name, request->argument, error_message(error));
}

void request_run(Request *request, RequestHandler handler, unsigned *status, json_t **answer) {
    _cleanup_json_ json_t *result = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    int r;
    request->operation.cancel_fd = connection_socket(request->connection);
    if (request->wants_lines && request->row->events) {
        request->operation.on_event = send_event;
        request->operation.data = request;
    }
    r = handler(request, &result, &error);
    if (r < 0)
        log_failure(request, &error);
    if (request->response.fd >= 0) {
        finish_stream(request, r, result, &error);
        *status = 0;
        *answer = NULL;
        return;
    }
    if (request->handed_over) {
        *status = 0;
        *answer = NULL;
        return;
    }
    if (r < 0) {
        *status = (unsigned)error_kind_http_status(error.kind);
        *answer = json_from_error(&error);
        return;
    }
    *status = MHD_HTTP_OK;
    *answer = result ? TAKE_PTR(result) : json_object();
}
