/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_API_SESSION_INPUT_H
#define RAMET_KEEPER_API_SESSION_INPUT_H

/* What goes from a session to the guest: frames that are read from the client into one FrameReader,
 * or a file. A frame that the link does not take now (no credit, buffer full) is pending, with how
 * much of it went already, and the client is not read until the link has room again. So nothing is
 * buffered but that one frame. */

#include "keeper/api/session.h"

#define SESSION_INPUT_BYTES (32u * 1024u) /* of session->input */

/* Reads what the client sent, and forwards it. Negative: the client is gone. */
int session_read_client(Session *session);

/* Gives the link what it takes. Afterwards either nothing is pending, or the link is full. */
void session_forward(Session *session);

/* Ends the command's input. -EBUSY: not now. */
int session_forward_eof(Session *session);

#endif
