/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_GUEST_STREAM_H
#define RAMET_RUN_GUEST_STREAM_H

/* The daemon as a client of a keeper: frames over one end of a socket pair, whose other end the
 * keeper has. For guest_run.h and guest_copy.h. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "proto/frame.h"
#include "store/vms.h"

/* Gives the keeper its end (borrowed), with a request that names its "op". */
int guest_stream_hand(Home *home, const VmRow *row, const json_t *request, int stream_fd,
                      Error *error);

/* Adds to the reader what has come. ERROR_FAILED when the stream broke off. */
int guest_stream_read(FrameReader *reader, int fd, Error *error);

/* What a FRAME_ERROR says. */
int guest_stream_error(const Frame *frame, Error *error);

#endif
