/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/api/own_stream.h"

#include <errno.h>
#include <unistd.h>

#include "proto/agent.h"
#include "proto/frame.h"

typedef struct Awaiting {
    FrameReader reader;
    HttpLineHandler on_event; /* may be NULL */
    void *data;
    json_t *ready; /* owned; NULL until it comes */
} Awaiting;

static void awaiting_free(Awaiting *awaiting) {
    frame_reader_free(&awaiting->reader);
    json_decref(awaiting->ready);
}

static int handle_frame(Awaiting *awaiting, const Frame *frame, Error *error) {
    _cleanup_json_ json_t *parsed = NULL;
    Error told = ERROR_INIT;
    int r;
    if (frame->type != FRAME_EVENT && frame->type != FRAME_READY && frame->type != FRAME_ERROR)
        return 0;
    r = json_parse("the answer", (const char *)frame->payload, frame->length, &parsed, error);
    if (r < 0)
        return r;
    if (frame->type == FRAME_EVENT)
        return awaiting->on_event ? awaiting->on_event(awaiting->data, parsed) : 0;
    if (frame->type == FRAME_ERROR && json_to_error(parsed, &told) == 0)
        return error_move(error, &told);
    json_replace(&awaiting->ready, TAKE_PTR(parsed));
    return 0;
}

static int read_some(Awaiting *awaiting, int stream, Error *error) {
    size_t room;
    uint8_t *space = frame_reader_space(&awaiting->reader, &room);
    ssize_t n = read(stream, space, room);
    Frame frame;
    int r = 0;
    if (n < 0 && errno == EINTR)
        return 0;
    if (n <= 0)
        return error_set_errno(error, n < 0 ? errno : ECONNRESET, "the daemon is gone");
    frame_reader_added(&awaiting->reader, (size_t)n);
    while (r == 0 && !awaiting->ready && frame_reader_next(&awaiting->reader, &frame))
        r = handle_frame(awaiting, &frame, error);
    return r;
}

int own_stream_await(int stream, HttpLineHandler on_event, void *data, json_t **ready,
                     Error *error) {
    _cleanup_(awaiting_free) Awaiting awaiting = {.on_event = on_event, .data = data};
    int r = frame_reader_init(&awaiting.reader);
    if (r < 0)
        return error_set_errno(error, -r, "cannot read the answer");
    while (r == 0 && !awaiting.ready)
        r = read_some(&awaiting, stream, error);
    if (r == 0)
        *ready = TAKE_PTR(awaiting.ready);
    return r;
}
