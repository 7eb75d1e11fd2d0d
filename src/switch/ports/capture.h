/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_PORTS_CAPTURE_H
#define RAMET_SWITCH_PORTS_CAPTURE_H

/* Captures: frames as pcapng (draft-ietf-opsawg-pcapng) on pipes or sockets that others read. A
 * reader that is slow loses frames, which are counted; the switch never waits for it. The capture
 * of a network has each frame once, as its sender sent it, on an interface named as the port's VM
 * ("uplink" for what comes from outside); that of a port has what its guest sent and got, with the
 * direction. */

#include "switch/ports/switch.h"

typedef enum CaptureDirection { CAPTURE_FROM_GUEST, CAPTURE_TO_GUEST } CaptureDirection;

/* Starts one; output_fd is taken over on success. id "": the whole network. ERROR_USAGE for a
 * descriptor that is neither pipe nor socket. */
int capture_start(Switch *net, const char *id, int output_fd, uint64_t *number, Error *error);

/* Its frames come from that packet socket (packet(7)), not from ports; packet_fd is taken over on
 * success. ERROR_NOT_FOUND, ERROR_USAGE. */
int capture_from(Switch *net, uint64_t number, int packet_fd, Error *error);

/* Ends it. captured and lost: how many frames were written, and were not. ERROR_NOT_FOUND. */
int capture_end(Switch *net, uint64_t number, uint64_t *captured, uint64_t *lost, Error *error);
void captures_free(Switch *net);

/* A frame that a port's guest sent or gets; port NULL: from the uplink. */
void capture_frame(Switch *net, const Port *port, CaptureDirection direction, const uint8_t *frame,
                   size_t size);

#endif
