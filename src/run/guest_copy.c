/* SPDX-License-Identifier: Apache-2.0 */

/* An archive for a guest, from the daemon itself: frames of data, one at a time, until the guest
 * has all of it and says how it went. What the guest says may come early, when it wants no more. */

#include "run/guest_copy.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "proto/agent.h"
#include "proto/frame.h"
#include "proto/tlv.h"
#include "run/guest_stream.h"
#include "run/guest_wait.h"

#define PIECE_BYTES 32768u

typedef struct Copying {
    GuestCopy left; /* of the archive */
    FrameReader reader;
    bool ended_input; /* EOF is on its way, or sent */
    bool done;
    size_t sent, size; /* of `frame` */
    uint8_t frame[FRAME_HEADER_SIZE + PIECE_BYTES];
} Copying;

/* ---- out ---- */

static int make_frame(Copying *copying, Error *error) {
    GuestCopy *left = &copying->left;
    size_t size = MIN_OF(left->bytes, (uint64_t)PIECE_BYTES);
    if (fd_pread_full(left->fd, copying->frame + FRAME_HEADER_SIZE, size, (off_t)left->offset) !=
        (ssize_t)size)
        return error_set_errno(error, EIO, "cannot read the archive");
    left->offset += size;
    left->bytes -= size;
    frame_encode_header(copying->frame, 0, 0, size ? FRAME_DATA : FRAME_EOF, (uint32_t)size);
    copying->ended_input = size == 0;
    copying->size = FRAME_HEADER_SIZE + size;
    copying->sent = 0;
    return 0;
}

static bool has_more(const Copying *copying) {
    return copying->sent < copying->size || !copying->ended_input;
}

static int send_some(Copying *copying, int fd, Error *error) {
    int r = copying->sent == copying->size ? make_frame(copying, error) : 0;
    ssize_t n;
    if (r < 0)
        return r;
    n = send(fd, copying->frame + copying->sent, copying->size - copying->sent,
             MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n < 0 && errno == EPIPE) { /* it has said why */
        copying->ended_input = true;
        copying->sent = copying->size;
        return 0;
    }
    if (n < 0)
        return error_set_errno(error, errno, "cannot send the archive");
    copying->sent += (size_t)n;
    return 0;
}

/* ---- in ---- */

static int read_result(Copying *copying, const Frame *frame, Error *error) {
    char text[1024] = "it failed in the guest";
    uint64_t number = 0;
    TlvReader reader;
    TlvField field;
    tlv_read(&reader, frame->payload, frame->length);
    while (tlv_next(&reader, &field) > 0) {
        if (field.tag == TAG_ERRNO && (tlv_u64(&field, &number) < 0 || number > 4095))
            return error_set(error, ERROR_CORRUPT, EBADMSG, "a bad error number from the guest");
        if (field.tag == TAG_TEXT)
            (void)tlv_text(&field, text, sizeof(text));
    }
    copying->done = true;
    return number ? error_set(error, ERROR_FAILED, (int)number, "%s", text) : 0;
}

static int read_frames(Copying *copying, Error *error) {
    Frame frame;
    int r = 0;
    while (r == 0 && !copying->done && frame_reader_next(&copying->reader, &frame) > 0) {
        if (frame.type == FRAME_RESULT)
            r = read_result(copying, &frame, error);
        else if (frame.type == FRAME_ERROR)
            r = guest_stream_error(&frame, error);
    }
    return r;
}

/* ---- both ---- */

static int move_some(Copying *copying, int fd, short revents, Error *error) {
    int r = 0;
    if (revents & (POLLIN | POLLHUP | POLLERR))
        r = guest_stream_read(&copying->reader, fd, error);
    if (r >= 0)
        r = read_frames(copying, error);
    if (r >= 0 && !copying->done && (revents & POLLOUT))
        r = send_some(copying, fd, error);
    return r;
}

static int move_all(Copying *copying, GuestWait *wait, Error *error) {
    int r = 0;
    while (r >= 0 && !copying->done) {
        short revents = 0;
        r = guest_wait(wait, (short)(POLLIN | (has_more(copying) ? POLLOUT : 0)), &revents, error);
        if (r >= 0)
            r = move_some(copying, wait->fd, revents, error);
    }
    return r;
}

int guest_copy_in(Home *home, Operation *operation, const VmRow *row, const GuestCopy *copy,
                  uint64_t timeout_usec, Error *error) {
    uint64_t deadline = clock_monotonic_usec() + timeout_usec;
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:o, s:I}", "op", "copy_in", "path", json_from_cstring(copy->path),
                  "flags", (json_int_t)copy->flags);
    _cleanup_free_ Copying *copying = calloc(1, sizeof(*copying));
    GuestWait wait;
    int pair[2], r;
    if (!copying || frame_reader_init(&copying->reader) < 0)
        return error_set_errno(error, ENOMEM, "cannot copy into the VM");
    copying->left = *copy;
    r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0
            ? error_set_errno(error, errno, "cannot make a socket pair")
            : 0;
    if (r >= 0) {
        r = guest_stream_hand(home, row, request, pair[1], error);
        (void)fd_close(pair[1]);
        guest_wait_begin(&wait, home, operation, row, pair[0], deadline);
        if (r >= 0)
            r = move_all(copying, &wait, error);
        guest_wait_end(&wait);
        (void)fd_close(pair[0]);
    }
    frame_reader_free(&copying->reader);
    return r;
}
