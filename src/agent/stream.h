/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_STREAM_H
#define RAMET_AGENT_STREAM_H

#include <poll.h>

#include "agent/port.h"

/* One request that has a process behind it: a command (exec) or a worker, a child of the agent that
 * does slow work such as a copy. Up to four pipes lead to it; see stream.c for how it lives and
 * ends. */
typedef struct Stream {
    struct Stream *next;
    uint16_t id;
    bool is_exec;  /* ends with EXIT; a worker ends with DONE */
    bool is_tty;   /* in_fd and out_fd are the master of a pseudo terminal */
    bool survives; /* goes on in a new session, unseen; others are killed then */
    bool detached; /* nobody listens any more: no frames, output is read and dropped */
    bool reaped;
    pid_t pid;
    int exit_code; /* valid once reaped */
    int in_fd;     /* owned, or -1, like all of these */
    int out_fd;
    int err_fd;
    int status_fd; /* a worker's Result */
    uint8_t *in;   /* owned: what could not be written to in_fd yet */
    size_t in_start;
    size_t in_end;
    bool in_eof;
    uint32_t in_credit;   /* what the keeper may still send */
    uint32_t in_consumed; /* taken, but not granted again yet */
    uint64_t out_credit;
    uint64_t out_left; /* once reaped: how much more output is delivered */
    uint64_t err_left;
    uint64_t kill_at_usec; /* 0: not */
    int in_slot;           /* places in the poll set of this turn, or -1 */
    int out_slot;
    int err_slot;
} Stream;

/* An empty stream with no descriptors; NULL when there is no memory. */
Stream *stream_new(uint16_t id);

/* Closes and frees; does not touch the process. */
void stream_free(Stream *stream);

/* Frames of the keeper. False when it sent more than its credit. */
bool stream_take_data(Stream *stream, Port *port, uint32_t session, const uint8_t *data,
                      size_t size);
void stream_take_eof(Stream *stream);
void stream_take_window(Stream *stream, uint32_t size);

/* The other end went away: SIGHUP now, SIGKILL a little later; nothing is sent any more. */
void stream_cancel(Stream *stream);

/* A new session begins: end of input; output is read and dropped from now on. */
void stream_detach(Stream *stream);

/* Adds what this stream waits for; at most three entries. */
void stream_collect(Stream *stream, const Port *port, struct pollfd *fds, size_t *n_fds);

/* Moves data, for those descriptors that poll found ready. */
void stream_pump(Stream *stream, Port *port, uint32_t session, const struct pollfd *fds);

/* Its process has ended (wait(2) status). */
void stream_reap(Stream *stream, int status);

/* Sends the last frame when all is over; true when the stream can go. */
bool stream_finish(Stream *stream, Port *port, uint32_t session);

#endif
