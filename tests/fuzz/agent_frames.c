/* SPDX-License-Identifier: Apache-2.0 */
/* What a channel may bring: marker search, frames, greeting, streams, and the requests' fields.
 * Nothing is started: a request is parsed, and then given a stream without a process. */
#include <fcntl.h>
#include <stddef.h>

#include "agent/identity/guest_identity.h"
#include "agent/session/connect.h"
#include "agent/session/exec.h"
#include "agent/session/session.h"

static void take_request(Session *session, const Frame *frame) {
    Result result = {0};
    ExecRequest request;
    GuestIdentity identity;
    ConnectRequest connection;
    if (frame->type == FRAME_EXEC &&
        exec_parse(frame->payload, frame->length, &request, &result) == 0)
        exec_request_free(&request);
    if (frame->type == FRAME_CONNECT)
        (void)connect_parse(frame->payload, frame->length, &connection, &result);
    if (frame->type == FRAME_IDENTITY)
        (void)guest_identity_parse(frame->payload, frame->length, &identity, &result);
    Stream *stream = session_add_stream(session, frame->stream);

    if (!stream) {
        session_send_result(session, frame->stream, &result);
        return;
    }
    stream->survives = frame->stream & 1;
    stream->is_exec = frame->stream & 2;
    stream->is_socket = frame->type == FRAME_CONNECT;
    if (stream->is_exec || stream->is_socket) /* full at once, so that input is kept */
        stream->in_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Session session;
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0 || session_init(&session, fd, false, take_request) < 0)
        return 0;
    /* The first byte says how the reads are cut. */
    size_t part = size > 0 ? data[0] + 1u : 1u;

    for (size_t done = 1; done < size; done += part) {
        session_input(&session, data + done, MIN_OF(part, size - done));
        session_sweep(&session);
        channel_flush(&session.channel);
    }
    session_free(&session);
    return 0;
}
