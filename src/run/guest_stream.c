/* SPDX-License-Identifier: Apache-2.0 */
#include "run/guest_stream.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "home/row.h"
#include "proto/keeper.h"

#define HAND_TIMEOUT_USEC (60 * USEC_PER_SEC)

int guest_stream_hand(Home *home, const VmRow *row, const json_t *request, int stream_fd,
                      Error *error) {
    _cleanup_json_ json_t *ok = NULL;
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(home, row->id, &dir_fd, error);
    if (r < 0)
        return r;
    return keeper_call(dir_fd, request, &stream_fd, 1, clock_monotonic_usec() + HAND_TIMEOUT_USEC,
                       -1, NULL, NULL, &ok, error);
}

int guest_stream_read(FrameReader *reader, int fd, Error *error) {
    size_t room;
    uint8_t *space = frame_reader_space(reader, &room);
    ssize_t n = read(fd, space, room);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n <= 0)
        return error_set(error, ERROR_FAILED, ECONNRESET, "the connection to the VM broke off");
    frame_reader_added(reader, (size_t)n);
    return 0;
}

int guest_stream_error(const Frame *frame, Error *error) {
    _cleanup_json_ json_t *json = NULL;
    _cleanup_error_ Error told = ERROR_INIT;
    if (json_parse("error", (const char *)frame->payload, frame->length, &json, NULL) < 0 ||
        json_to_error(json, &told) < 0)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "an error that cannot be read");
    return error_move(error, &told);
}
