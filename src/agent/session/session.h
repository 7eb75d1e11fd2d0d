/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_SESSION_SESSION_H
#define RAMET_AGENT_SESSION_SESSION_H

#include "agent/freeze/exclusive_cpu.h"
#include "agent/session/request_stream.h"
#include "proto/agent.h"
#include "proto/frame.h"

#define SESSION_STREAMS_MAX 1024 /* detached ones included */

typedef struct Session Session;

/* A request frame that opens a stream. Set by the program; the fuzzer has one that starts nothing.
 */
typedef void (*SessionRequest)(Session *session, const Frame *frame);

typedef enum PowerAction { POWER_NONE, POWER_OFF, POWER_REBOOT } PowerAction;

/* The conversation with the keeper. */
struct Session {
    Channel channel;
    FrameReader reader;
    uint8_t marker[AGENT_MARKER_SIZE]; /* of the next greeting */
    uint8_t fallback[AGENT_MARKER_SIZE];
    size_t matched; /* how much of the marker the last bytes were */
    bool expects_hello;
    bool greeted;
    uint8_t ram_nonce[AGENT_NONCE_SIZE]; /* drawn once, only ever in memory */
    uint64_t counter;                    /* greetings so far */
    Stream *streams;                     /* owned */
    size_t n_attached;
    size_t n_streams;
    bool is_init;
    bool frozen;   /* by us: file systems, and what else runs (exclusive_cpu.h) */
    bool restored; /* greeted since the freeze: frozen in the snapshot that we were restored from */
    ExclusiveCpu exclusive;
    pid_t program;      /* of EXEC_PROGRAM, while it runs; else 0 */
    bool program_asked; /* by a signal, to end before the power goes */
    bool program_ended;
    int program_exit_code;       /* both valid once it has ended */
    uint64_t program_ended_usec; /* realtime */
    PowerAction power;
    uint64_t power_at_usec; /* until then it waits for streams that are about to end */
    SessionRequest on_request;
};

/* Takes the channel's descriptor over, even when it fails. */
int session_init(Session *session, int channel_fd, bool is_init, SessionRequest on_request);

/* Frees everything; processes go on. */
void session_free(Session *session);

/* Sends ANNOUNCE: the protocol's version and the agent's. */
void session_announce(Session *session);

/* Reads from the channel once and acts on what came. A negative errno when the host is gone. */
int session_read(Session *session);

/* EXEC_PROGRAM has begun, or has ended. */
void session_begin_program(Session *session, pid_t pid);
void session_end_program(Session *session, int exit_code);

/* Acts on bytes that came; what session_read does, for tests. */
void session_input(Session *session, const uint8_t *data, size_t size);

/* Makes a stream and puts it into the list; NULL when there are too many. */
Stream *session_add_stream(Session *session, uint16_t id);
/* Takes it out again and frees it. */
void session_remove_stream(Session *session, Stream *stream);

/* Ends a request: RESULT with the result. */
void session_send_result(Session *session, uint16_t stream, const Result *result);

/* A child has ended. */
void session_reap(Session *session, pid_t pid, int status);

/* Thaws the file systems and lets everybody else run again. Done by THAW, by the first request
 * after a greeting that may need the disk, and when the time of exclusive_cpu.h is over: a keeper
 * that froze and went away will not thaw. */
void session_thaw(Session *session, Result *result);

/* Ends the streams that are over. */
void session_sweep(Session *session);

#endif
