/* SPDX-License-Identifier: Apache-2.0 */
/* One function a request. Quick ones are done here and now; the others get a stream and a worker.
 */

#include "agent/requests.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "agent/disk/fs_resize.h"
#include "agent/files/copy.h"
#include "agent/files/file.h"
#include "agent/freeze/fs_freeze.h"
#include "agent/freeze/mailbox.h"
#include "agent/identity/guest_identity.h"
#include "agent/session/connect.h"
#include "agent/session/exec.h"
#include "agent/session/worker.h"
#include "proto/tlv.h"

#define FREEZE_TRIES 20

/* The fields that simple requests have. */
typedef struct Fields {
    char path[4096];
    uint64_t flags, reboot, mode, size, signal;
    Clock clock;
} Fields;

static int read_fields(const Frame *frame, Fields *fields, Result *result) {
    TlvReader reader;
    TlvField field;
    int r;
    *fields = (Fields){.clock.limit_usec = 1000000, .mode = 0644, .size = UINT64_MAX};
    tlv_read(&reader, frame->payload, frame->length);
    while ((r = tlv_next(&reader, &field)) > 0) {
        if (field.tag == TAG_PATH)
            r = tlv_text(&field, fields->path, sizeof(fields->path));
        else if (field.tag == TAG_FLAGS)
            r = tlv_u64(&field, &fields->flags);
        else if (field.tag == TAG_MODE)
            r = tlv_u64(&field, &fields->mode);
        else if (field.tag == TAG_SIZE)
            r = tlv_u64(&field, &fields->size);
        else if (field.tag == TAG_REALTIME_USEC)
            r = tlv_u64(&field, &fields->clock.realtime_usec);
        else if (field.tag == TAG_UPTIME_USEC)
            r = tlv_u64(&field, &fields->clock.uptime_usec);
        else if (field.tag == TAG_LIMIT_USEC)
            r = tlv_u64(&field, &fields->clock.limit_usec);
        else if (field.tag == TAG_SIGNAL)
            r = tlv_u64(&field, &fields->signal);
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
        session_send_result(session, frame->stream, &result);
}

static void handle_ping(Session *session, const Frame *frame) {
    session_send_result(session, frame->stream, &(Result){.value = realtime_usec()});
}

static void handle_clock(Session *session, const Frame *frame) {
    Result result = {0};
    Fields fields;
    if (read_fields(frame, &fields, &result) == 0)
        (void)guest_identity_set_clock(&fields.clock, &result);
    result.value = realtime_usec(); /* what it shows now */
    session_send_result(session, frame->stream, &result);
}

/* While nobody else runs. A clone that must make a file first has its disks back earlier. */
static int apply_identity(Session *session, GuestIdentity *identity, Result *result) {
    if (session->frozen && guest_identity_needs_disk(identity))
        fs_thaw_all(&(Result){0});
    int r = guest_identity_apply(identity, result);
    if (r == 0 && session->restored)
        exclusive_cpu_report(&session->exclusive, result);
    identity->exclusive = result->exclusive;
    return r;
}

/* What is left to do runs programs of the guest, who need the others. It is somebody else by then.
 */
static void finish_identity(Session *session, const Frame *frame, GuestIdentity *identity) {
    if (session->frozen)
        session_thaw(session, &(Result){0});
    start_worker(session, frame, false, false, guest_identity_finish, identity);
    authorized_keys_remember(&identity->logins);
}

static void handle_identity(Session *session, const Frame *frame) {
    Result result = {0};
    static GuestIdentity
        identity; /* of the last request; a worker has a copy of it after its fork */
    int r = guest_identity_parse(frame->payload, frame->length, &identity, &result);
    if (r == 0)
        r = apply_identity(session, &identity, &result);
    if (!session->frozen)
        generation_announce(); /* else at the thaw */
    if (r == 0 && guest_identity_has_more(&identity)) {
        finish_identity(session, frame, &identity);
        return;
    }
    if (r == 0)
        result.value = realtime_usec() - now_usec(); /* when its uptime was 0 */
    result.itself = r == 0;
    session_send_result(session, frame->stream, &result);
}

/* A command that could not be started ends as a shell would end it: the reason, then 126 or 127. */
static void end_failed_exec(Session *session, Stream *stream, int exit_code, const char *message) {
    close_fd(&stream->in_fd);
    close_fd(&stream->out_fd);
    close_fd(&stream->err_fd);
    channel_send(&session->channel, stream->id, stream->is_tty ? FRAME_DATA : FRAME_DATA_ERR,
                 message, strlen(message));
    channel_send(&session->channel, stream->id, FRAME_EOF, NULL, 0);
    channel_send(&session->channel, stream->id, FRAME_EOF_ERR, NULL, 0);
    stream_reap(stream, exit_code << 8);
    stream->pid = -1; /* the child that failed is reaped like an orphan */
}

/* Its fields follow. */
static void begin_long_exec(Session *session, const Frame *frame, size_t size) {
    Result result = {0};
    Stream *stream = NULL;
    if (size > AGENT_EXEC_MAX)
        result_say(&result, E2BIG, "a command has at most %u KiB", AGENT_EXEC_MAX / 1024);
    else
        stream = open_stream(session, frame, &result);
    if (stream && !stream_gather(stream, size)) {
        result_fail(&result, ENOMEM, "cannot take a command of %zu KiB", size / 1024);
        session_remove_stream(session, stream);
    }
    if (result.error != 0)
        session_send_result(session, frame->stream, &result);
}

/* Nobody hears of it over its pipes. */
static void begin_console(Session *session, const Stream *stream, const char *message) {
    channel_send(&session->channel, stream->id, FRAME_EOF, NULL, 0);
    channel_send(&session->channel, stream->id, FRAME_EOF_ERR, NULL, 0);
    if (message)
        exec_tell_console(message);
}

static void begin_started(Session *session, Stream *stream, const ExecRequest *request,
                          int exit_code, const char *message) {
    bool failed = exit_code >= 0;
    if (request->flags & EXEC_CONSOLE)
        begin_console(session, stream, failed ? message : NULL);
    if (request->flags & EXEC_PROGRAM)
        session_begin_program(session, stream->pid);
    if (!failed)
        return;
    end_failed_exec(session, stream, exit_code, message);
    if (request->flags & EXEC_PROGRAM)
        session_end_program(session, exit_code);
}

static void handle_exec(Session *session, const Frame *frame) {
    size_t announced = exec_announced(frame->payload, frame->length);
    Result result = {0};
    _cleanup_(exec_request_free) ExecRequest request = {0};
    char message[512];
    int exit_code = -1;
    Stream *stream = NULL;
    if (announced > 0) {
        begin_long_exec(session, frame, announced);
        return;
    }
    if (exec_parse(frame->payload, frame->length, &request, &result) == 0)
        stream = open_stream(session, frame, &result);
    if (stream && exec_start(stream, &request, &exit_code, message, sizeof(message), &result) < 0)
        session_remove_stream(session, stream);
    else if (stream)
        stream->survives = true;
    if (result.error != 0)
        session_send_result(session, frame->stream, &result);
    else
        begin_started(session, stream, &request, exit_code, message);
}

static void handle_connect(Session *session, const Frame *frame) {
    Result result = {0};
    Stream *stream = NULL;
    ConnectRequest request;
    if (connect_parse(frame->payload, frame->length, &request, &result) == 0)
        stream = open_stream(session, frame, &result);
    if (stream && connect_start(stream, &request, &result) < 0)
        session_remove_stream(session, stream);
    if (result.error != 0)
        session_send_result(session, frame->stream, &result);
}

static void handle_copy(Session *session, const Frame *frame) {
    Result result = {0};
    Fields fields;
    bool in = frame->type == FRAME_COPY_IN;
    if (read_fields(frame, &fields, &result) < 0) {
        session_send_result(session, frame->stream, &result);
        return;
    }
    CopyRequest request = {.path = fields.path, .flags = fields.flags};
    start_worker(session, frame, in, !in, in ? copy_in_worker : copy_out_worker, &request);
}

static void handle_file(Session *session, const Frame *frame) {
    Result result = {0};
    Fields fields;
    bool in = frame->type == FRAME_WRITE;
    if (read_fields(frame, &fields, &result) < 0) {
        session_send_result(session, frame->stream, &result);
        return;
    }
    FileRequest request = {.path = fields.path, .mode = fields.mode, .size = fields.size};
    start_worker(session, frame, in, !in,
                 in                          ? file_write_worker
                 : frame->type == FRAME_READ ? file_read_worker
                                             : file_stat_worker,
                 &request);
}

static void handle_fs_resize(Session *session, const Frame *frame) {
    Result result = {0};
    Fields fields;
    if (read_fields(frame, &fields, &result) < 0)
        session_send_result(session, frame->stream, &result);
    else
        start_worker(session, frame, false, false, fs_resize_worker, fields.path);
}

static void handle_sync(Session *session, const Frame *frame) {
    start_worker(session, frame, false, false, fs_sync, NULL);
}

/* Tries again where somebody was stopped who had a lock: until it gives that back, it must run.
 * What was found before may be otherwise by then. */
static void stop_others(Session *session, Result *result) {
    for (unsigned i = 0; i < FREEZE_TRIES; i++) {
        guest_identity_prepare();
        exclusive_cpu_begin(&session->exclusive, result);
        if (result->error != 0 ||
            exclusive_cpu_settle(&session->exclusive, guest_identity_take_locks))
            return;
        exclusive_cpu_end(&session->exclusive);
    }
    result_say(result, EBUSY, "the guest's kernel is busy with changes of its network");
}

/* Not in a worker, like the thaw: what comes after must be as near as possible, and the keeper has
 * asked for a SYNC before, which took what is slow. */
static void handle_freeze(Session *session, const Frame *frame) {
    Result result = {0}, exclusive = {0};
    Fields fields;
    int r = read_fields(frame, &fields, &result);
    if (r == 0 && !(fields.flags & FREEZE_NOT_DISKS))
        r = fs_freeze_all(&result);
    if (r == 0) {
        session->frozen = true;
        result.value = mailbox_open(session->marker);
        stop_others(session, &exclusive);
        copy_text(result.text, sizeof(result.text), exclusive.text);
        exclusive_cpu_report(&session->exclusive, &result);
    }
    session_send_result(session, frame->stream, &result);
}

static void handle_thaw(Session *session, const Frame *frame) {
    Result result = {0};
    channel_flush(&session->channel); /* a clone is ready with what waits there */
    session_thaw(session, &result);
    session_send_result(session, frame->stream, &result);
}

static void handle_power_off(Session *session, const Frame *frame) {
    Result result = {0};
    Fields fields;
    if (read_fields(frame, &fields, &result) == 0)
        session->power = fields.reboot ? POWER_REBOOT : POWER_OFF;
    session->power_at_usec = 0;
    session->program_asked = session->program > 0 && fields.signal >= 1 && fields.signal <= 64 &&
                             kill(-session->program, (int)fields.signal) == 0;
    if (session->program_asked)
        session->power_at_usec = now_usec() + fields.clock.limit_usec;
    session_send_result(session, frame->stream, &result);
}

static const struct {
    FrameType type;
    SessionRequest handle;
} requests[] = {
    {FRAME_IDENTITY, handle_identity}, {FRAME_CLOCK, handle_clock},
    {FRAME_EXEC, handle_exec},         {FRAME_COPY_IN, handle_copy},
    {FRAME_COPY_OUT, handle_copy},     {FRAME_FS_RESIZE, handle_fs_resize},
    {FRAME_SYNC, handle_sync},         {FRAME_FREEZE, handle_freeze},
    {FRAME_THAW, handle_thaw},         {FRAME_POWER_OFF, handle_power_off},
    {FRAME_PING, handle_ping},         {FRAME_READ, handle_file},
    {FRAME_WRITE, handle_file},        {FRAME_STAT, handle_file},
    {FRAME_CONNECT, handle_connect},
};

void requests_handle(Session *session, const Frame *frame) {
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
        if (requests[i].type == frame->type) {
            requests[i].handle(session, frame);
            return;
        }
    session_send_result(
        session, frame->stream,
        &(Result){.error = ENOSYS, .text = "this agent does not know that request"});
}
