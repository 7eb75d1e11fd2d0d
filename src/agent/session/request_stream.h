/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_SESSION_REQUEST_STREAM_H
#define RAMET_AGENT_SESSION_REQUEST_STREAM_H

#include <poll.h>

#include "agent/session/channel.h"

/* One request that has a process behind it, or a connection: a command (exec), a worker, which is a
 * child of the agent that does slow work such as a copy, or a TCP connection. Up to four pipes lead
 * to it; see request_stream.c for how it lives and ends. */
typedef struct Stream Stream;

/* A socket that was being connected can be written, or has failed, or a timer in its place has run
 * out. 0: it is connected; -EINPROGRESS: another one is, in its place; else the errno of the
 * failure. */
typedef int (*StreamConnected)(Stream *stream);

struct Stream {
    Stream *next;
    Channel *channel; /* borrowed */
    uint16_t id;
    bool is_exec;   /* ends with EXIT; a worker ends with RESULT */
    bool is_tty;    /* in_fd and out_fd are the master of a pseudo terminal */
    bool survives;  /* goes on in a new session, unseen; others are killed then */
    bool is_socket; /* in_fd and out_fd are a TCP connection; nothing is behind it to be reaped */
    bool finishes;  /* once its input has ended it ends by itself, and cleans up before */
    bool detached;  /* nobody listens any more: no frames, output is read and dropped */
    bool leaving;   /* detached, and its descriptors are still to be left */
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
    uint8_t *request; /* owned: a long request that is still coming; NULL otherwise */
    size_t request_size;
    size_t request_got;
    uint32_t in_credit;   /* what the keeper may still send */
    uint32_t in_consumed; /* taken, but not granted again yet */
    uint64_t out_credit;
    uint64_t out_left; /* once reaped: how much more output is delivered */
    uint64_t err_left;
    uint64_t kill_at_usec; /* 0: not */
    int in_slot;           /* places in the poll set of this turn, or -1 */
    int out_slot;
    int err_slot;
    StreamConnected connecting;  /* NULL: the socket is connected */
    uint16_t port;               /* of a socket */
    uint64_t connect_until_usec; /* refused before that: it is tried again */
    int failed;                  /* errno of what ended a socket; 0: nothing did */
};

/* An empty stream with no descriptors; NULL when there is no memory. */
Stream *stream_new(uint16_t id, Channel *channel);

/* Closes and frees; does not touch the process. */
void stream_free(Stream *stream);

/* Frames of the keeper. False when it sent more than its credit. */
bool stream_receive_data(Stream *stream, const uint8_t *data, size_t size);
/* Begins to gather a request of that many bytes, which come as DATA. False: no memory. */
bool stream_gather(Stream *stream, size_t size);
/* Its next part. 1: it is whole, and all credit is given back; 0: more is to come; negative: more
 * came than was announced or than the credit. */
int stream_receive_request(Stream *stream, const uint8_t *data, size_t size);
void stream_receive_eof(Stream *stream);
void stream_receive_window(Stream *stream, uint32_t size);

/* The other end went away: the input ends and SIGHUP comes now, SIGKILL a little later; nothing is
 * sent any more. */
void stream_cancel(Stream *stream);

/* A new session begins: end of input; output is read and dropped from now on. */
void stream_detach(Stream *stream);

/* Adds what this stream waits for; at most three entries. */
void stream_collect(Stream *stream, struct pollfd *fds, size_t *n_fds);

/* Moves data, for those descriptors that poll found ready. */
void stream_pump(Stream *stream, const struct pollfd *fds);

/* The exit code of a process that has ended so (wait(2) status): 128 + n for signal n. */
int stream_exit_code(int status);

/* Its process has ended (wait(2) status). */
void stream_reap(Stream *stream, int status);

/* A socket is over, for this reason (0: none). */
void stream_fail(Stream *stream, int error);

/* Sends the last frame when all is over; true when the stream can go. */
bool stream_finish(Stream *stream);

/* A RESULT frame with what the result says; for a stream that is gone or was never made, too. */
void stream_send_result(Channel *channel, uint16_t id, const Result *result);

#endif
