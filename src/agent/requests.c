/* SPDX-License-Identifier: Apache-2.0 */
/* One function a request. Quick ones are done here and now; the others get a stream and a worker.
 */

#include "agent/requests.h"

#include <errno.h>
#include <string.h>

#include "agent/copy.h"
#include "agent/exec.h"
#include "agent/freeze.h"
#include "agent/grow.h"
#include "agent/identity.h"
#include "agent/mailbox.h"
#include "agent/worker.h"
#include "proto/tlv.h"

/* The fields that simple requests have. */
typedef struct Fields {
    char path[4096];
    uint64_t flags, reboot;
    Clock clock;
} Fields;

static int read_fields(const Frame *frame, Fields *fields, Result *result) {
    TlvReader reader;
    TlvField field;
    int r;

    *fields = (Fields){.clock.limit_usec = 1000000};
    tlv_read(&reader, frame->payload, frame->length);
    while ((r = tlv_next(&reader, &field)) > 0) {
        if (field.tag == TAG_PATH)
            r = tlv_text(&field, fields->path, sizeof(fields->path));
        else if (field.tag == TAG_FLAGS)
            r = tlv_u64(&field, &fields->flags);
        else if (field.tag == TAG_REALTIME_USEC)
            r = tlv_u64(&field, &fields->clock.realtime_usec);
        else if (field.tag == TAG_UPTIME_USEC)
            r = tlv_u64(&field, &fields->clock.uptime_usec);
        else if (field.tag == TAG_LIMIT_USEC)
            r = tlv_u64(&field, &fields->clock.limit_usec);
        else if (field.tag == TAG_REBOOT)
            r = tlv_u64(&field, &fields->reboot);
        if (r < 0)
            break;
    }
    return r < 0 ? result_fail(result, -r, "cannot read the request") : 0;
}

static Stream *open_stream(Session *session, const Frame *frame, Result *result) {
    Stream *stream = session_add_stream(session, frame->stream);

    if (!stream)
        result_say(result, EMFILE, "the guest's agent has %d requests under way already",
                   AGENT_STREAMS_MAX);
    return stream;
}

static void start_worker(Session *session, const Frame *frame, bool takes_input, bool gives_output,
                         WorkerFunction function, void *data) {
    Result result = {0};
    Stream *stream = open_stream(session, frame, &result);
    int r = stream ? worker_start(stream, takes_input, gives_output, function, data) : 0;

    if (r < 0) {
        result_fail(&result, -r, "cannot start a worker");
        session_remove_stream(session, stream);
    }
    if (result.error != 0)
        session_send_done(session, frame->stream, &result);
}

static void take_ping(Session *session, const Frame *frame) {
    session_send_done(session, frame->stream, &(Result){.value = realtime_usec()});
}

static void take_clock(Session *session, const Frame *frame) {
    Result result = {0};
    Fields fields;

    if (read_fields(frame, &fields, &result) == 0)
        (void)identity_set_clock(&fields.clock, &result);
    result.value = realtime_usec(); /* what it shows now */
    session_send_done(session, frame->stream, &result);
}

static void take_identity(Session *session, const Frame *frame) {
    Result result = {0};
    static Identity identity; /* of the last request; a worker has a copy of it after its fork */
    int r = identity_parse(frame->payload, frame->length, &identity, &result);

    if (r == 0 && session->frozen && identity_needs_disk(&identity))
        session_thaw(session, &(Result){0});
    if (r == 0)
        r = identity_apply(&identity, &result);
    if (r == 0)
        result.value = realtime_usec() - now_usec(); /* when its uptime was 0 */
    if (r == 0 && identity_has_more(&identity))
        start_worker(session, frame, false, false, identity_finish, &identity);
    else
        session_send_done(session, frame->stream, &result);
}

/* A command that could not be started ends as a shell would end it: the reason, then 126 or 127. */
static void end_failed_exec(Session *session, Stream *stream, int exit_code, const char *message) {
    close_fd(&stream->in_fd);
    close_fd(&stream->out_fd);
    close_fd(&stream->err_fd);
    port_send(&session->port, session->id, stream->id, stream->is_tty ? FRAME_DATA : FRAME_DATA_ERR,
              message, strlen(message));
    port_send(&session->port, session->id, stream->id, FRAME_EOF, NULL, 0);
    port_send(&session->port, session->id, stream->id, FRAME_EOF_ERR, NULL, 0);
    stream_reap(stream, exit_code << 8);
    stream->pid = -1; /* the child that failed is reaped like an orphan */
}

static void take_exec(Session *session, const Frame *frame) {
    Result result = {0};
    _cleanup_(exec_request_free) ExecRequest request = {0};
    char message[512];
    int exit_code = -1;
    Stream *stream = NULL;

    if (exec_parse(frame->payload, frame->length, &request, &result) == 0)
        stream = open_stream(session, frame, &result);
    if (stream && exec_start(stream, &request, &exit_code, message, sizeof(message), &result) < 0)
        session_remove_stream(session, stream);
    else if (stream)
        stream->survives = true;
    if (result.error != 0)
        session_send_done(session, frame->stream, &result);
    else if (exit_code >= 0)
        end_failed_exec(session, stream, exit_code, message);
}

static void take_copy(Session *session, const Frame *frame) {
    Result result = {0};
    Fields fields;
    bool in = frame->type == FRAME_COPY_IN;

    if (read_fields(frame, &fields, &result) < 0) {
        session_send_done(session, frame->stream, &result);
        return;
    }
    CopyRequest request = {.path = fields.path, .flags = fields.flags};

    start_worker(session, frame, in, !in, in ? copy_in_worker : copy_out_worker, &request);
}

static void take_grow(Session *session, const Frame *frame) {
    Result result = {0};
    Fields fields;

    if (read_fields(frame, &fields, &result) < 0)
        session_send_done(session, frame->stream, &result);
    else
        start_worker(session, frame, false, false, grow_worker, fields.path);
}

static void take_sync(Session *session, const Frame *frame) {
    start_worker(session, frame, false, false, freeze_sync, NULL);
}

/* Not in a worker, like the thaw: what comes after must be as near as possible, and the keeper has
 * asked for a SYNC before, which took what is slow. */
static void take_freeze(Session *session, const Frame *frame) {
    Result result = {0};
    Fields fields;
    int r = read_fields(frame, &fields, &result);

    if (r == 0 && !(fields.flags & FREEZE_NOT_DISKS))
        r = freeze_all(&result);
    if (r == 0) {
        session->frozen = true;
        identity_prepare();
        vigil_begin(&session->vigil);
        result.value = session->vigil.on ? mailbox_open(session->marker) : 0;
    }
    session_send_done(session, frame->stream, &result);
}

static void take_thaw(Session *session, const Frame *frame) {
    Result result = {0};

    port_flush(&session->port); /* a clone is ready with what waits there */
    session_thaw(session, &result);
    session_send_done(session, frame->stream, &result);
}

static void take_power_off(Session *session, const Frame *frame) {
    Result result = {0};
    Fields fields;

    if (read_fields(frame, &fields, &result) == 0)
        session->power = fields.reboot ? POWER_REBOOT : POWER_OFF;
    session_send_done(session, frame->stream, &result);
}

static const struct {
    FrameType type;
    SessionRequest take;
} requests[] = {
    {FRAME_IDENTITY, take_identity},   {FRAME_CLOCK, take_clock},   {FRAME_EXEC, take_exec},
    {FRAME_COPY_IN, take_copy},        {FRAME_COPY_OUT, take_copy}, {FRAME_GROW, take_grow},
    {FRAME_SYNC, take_sync},           {FRAME_FREEZE, take_freeze}, {FRAME_THAW, take_thaw},
    {FRAME_POWER_OFF, take_power_off}, {FRAME_PING, take_ping},
};

void requests_take(Session *session, const Frame *frame) {
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
        if (requests[i].type == frame->type) {
            requests[i].take(session, frame);
            return;
        }
    session_send_done(session, frame->stream,
                      &(Result){.error = ENOSYS, .text = "this agent does not know that request"});
}
