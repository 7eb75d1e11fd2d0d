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
 * A stream of events opens with its first event. What fails before that is an ordinary HTTP error.
 */

#include "daemon/request.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "proto/agent.h"

static int connection_socket(struct MHD_Connection *connection) {
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

static int take_socket(Request *request, int *fd, Error *error) {
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

int request_open_stream(Request *request, const char *content_type, Error *error) {
    int fd = -1, r = take_socket(request, &fd, error);

    if (r < 0)
        return r;
    if (content_type)
        stream_begin(&request->stream, fd, request->chunks, content_type);
    else
        stream_upgrade(&request->stream, fd);
    request->operation.cancel_fd = fd;
    return 0;
}

/* An event of the operation, as a line of the response. */
static void send_event(void *data, const json_t *event) {
    Request *request = data;
    _cleanup_error_ Error error = ERROR_INIT;

    if (request->stream.fd < 0 &&
        request_open_stream(request, "application/x-ndjson", &error) < 0) {
        log_warning("%s", error_message(&error));
        return;
    }
    stream_send_line(&request->stream, event);
}

static void finish_stream(Request *request, int r, const json_t *answer, const Error *error) {
    _cleanup_json_ json_t *failure = r < 0 ? json_from_error(error) : NULL;
    _cleanup_json_ json_t *result = NULL;
    Stream *stream = &request->stream;

    if (stream->frames) {
        if (failure)
            stream_send_frame(stream, FRAME_ERROR, failure);
    } else if (request->row->answer == API_ANSWER_JSON) {
        result = answer ? json_pack("{s:O}", "result", answer) : json_pack("{s:{}}", "result");
        stream_send_line(stream, failure ? failure : result);
    } else if (failure && request->row->answer == API_ANSWER_LINES) {
        stream_send_line(stream, failure);
    } else if (failure) {
        log_debug("%s ended early: %s", request->row->name, error_message(error));
        stream->chunked = false; /* a body without its end tells the client that it was cut */
    }
    stream_close(stream);
}

static void log_failure(const Request *request, const Error *error) {
    LogLevel level = error->kind == ERROR_FAILED ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG;

    log_message(level, "%s %s: %s", request->row->name, request->argument, error_message(error));
}

void request_run(Request *request, unsigned *status, json_t **answer) {
    _cleanup_json_ json_t *result = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    int r;

    request->operation.cancel_fd = connection_socket(request->connection);
    if (request->wants_lines && request->row->events) {
        request->operation.on_event = send_event;
        request->operation.data = request;
    }
    r = request_handler(request->row->id)(request, &result, &error);
    if (r < 0)
        log_failure(request, &error);
    if (request->stream.fd >= 0) {
        finish_stream(request, r, result, &error);
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
