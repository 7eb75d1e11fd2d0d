/* SPDX-License-Identifier: Apache-2.0 */

/* A command in a guest, for the daemon itself. It takes the place of a client: the keeper gets one
 * end of a socket pair and speaks frames on it. Of what the command prints only the end is kept,
 * and only if somebody wants it. */

#include "run/guest_run.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "home/home.h"
#include "home/row.h"
#include "proto/agent.h"
#include "proto/frame.h"
#include "proto/tlv.h"
#include "run/guest_stream.h"
#include "run/guest_wait.h"
#include "store/vms.h"

static int hand(Home *home, const VmRow *row, const char *const *argv, int stream_fd,
                Error *error) {
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:[], s:o}", "op", "exec", "argv", "env", vm_spec_env_to_json(&row->spec));
    for (size_t i = 0; argv[i]; i++)
        (void)json_array_append_new(json_object_get(request, "argv"), json_string(argv[i]));
    return guest_stream_hand(home, row, request, stream_fd, error);
}

/* The last GUEST_OUTPUT_MAX bytes. */
static void keep_last(StrBuf *output, const Frame *frame) {
    size_t room = GUEST_OUTPUT_MAX, length = MIN_OF((size_t)frame->length, room);
    const char *bytes = (const char *)frame->payload + (frame->length - length);
    if (output->size + length > room) {
        size_t drop = output->size + length - room;
        memmove(output->data, output->data + drop, output->size - drop);
        output->size -= drop;
    }
    strbuf_add(output, bytes, length);
}

static void take_output(GuestOutput *output, const Frame *frame) {
    keep_last(&output->last, frame);
    if (output->on_bytes)
        output->on_bytes(output->data, (const char *)frame->payload, frame->length);
}

static int read_exit_status(const Frame *frame, int *status, Error *error) {
    TlvReader reader;
    TlvField field;
    uint64_t code;
    tlv_read(&reader, frame->payload, frame->length);
    while (tlv_next(&reader, &field) > 0)
        if (field.tag == TAG_EXIT_CODE && tlv_u64(&field, &code) == 0) {
            *status = (int)(code & 0xff);
            return 0;
        }
    return error_set(error, ERROR_CORRUPT, EBADMSG, "an exit without a status");
}

/* 1: it ended. */
static int read_frames(FrameReader *reader, int *status, GuestOutput *output, Error *error) {
    Frame frame;
    int r = 0;
    while (r == 0 && frame_reader_next(reader, &frame) > 0) {
        if (output && (frame.type == FRAME_DATA || frame.type == FRAME_DATA_ERR))
            take_output(output, &frame);
        else if (frame.type == FRAME_EXIT)
            r = read_exit_status(&frame, status, error) < 0 ? -EBADMSG : 1;
        else if (frame.type == FRAME_ERROR)
            r = guest_stream_error(&frame, error);
    }
    return r;
}

static int wait_exit(GuestWait *wait, int *status, GuestOutput *output, Error *error) {
    FrameReader reader;
    int r = frame_reader_init(&reader);
    if (r < 0)
        return error_set_errno(error, -r, "cannot read from the VM");
    while (r == 0) {
        short revents = 0;
        r = guest_wait(wait, POLLIN, &revents, error);
        if (r == 0 && revents)
            r = guest_stream_read(&reader, wait->fd, error);
        if (r == 0)
            r = read_frames(&reader, status, output, error);
    }
    frame_reader_free(&reader);
    return r < 0 ? r : 0;
}

int guest_run(Home *home, Operation *operation, const VmRow *row, const char *const *argv,
              uint64_t timeout_usec, int *exit_status, GuestOutput *output, Error *error) {
    uint64_t deadline = clock_monotonic_usec() + timeout_usec;
    GuestWait wait;
    int pair[2], r;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set_errno(error, errno, "cannot make a socket pair");
    r = hand(home, row, argv, pair[1], error);
    (void)fd_close(pair[1]);
    guest_wait_begin(&wait, home, operation, row, pair[0], deadline);
    if (r >= 0)
        r = wait_exit(&wait, exit_status, output, error);
    guest_wait_end(&wait);
    (void)fd_close(pair[0]);
    return r;
}
