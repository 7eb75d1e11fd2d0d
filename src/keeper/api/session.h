/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_API_SESSION_H
#define RAMET_KEEPER_API_SESSION_H

/* A client's session, and what goes to the client: frames, or an HTTP response (answer.h). Data
 * goes into a FIFO for stdout and one for stderr, whose bound is the stream's credit; the guest
 * gets new credit as the client's socket takes bytes. When both hold data, stdout goes first: which
 * of the two a byte came from earlier is then lost, as with two pipes. The ends (EOF, EOF_ERR), and
 * the last frame (EXIT, RESULT, ERROR), follow when the FIFOs are empty. After the last frame was
 * sent the session is over. All sending is non-blocking. */

#include "keeper/api/answer.h"
#include "keeper/tasks/vm.h"
#include "proto/agent.h"

#define TIMED_OUT_STATUS 124 /* as timeout(1) has it */
#define DETACHED_ID_SIZE 17  /* 16 hexadecimal digits and NUL */

typedef struct Session Session;

typedef struct Sessions {
    Vm *vm;               /* borrowed */
    Session *list;        /* owned; the newest first */
    uint64_t active_usec; /* monotonic: when one began or ended last; 0: none did */
} Sessions;

/* A command that nobody listens to. Its answer holds the end of what it printed. */
typedef struct Detached {
    char id[DETACHED_ID_SIZE];
    json_t *argv;             /* owned */
    uint64_t started_at_usec; /* realtime */
    bool ended;
    int status;  /* valid once ended, when there was no error */
    Error error; /* why its end is not known */
} Detached;

/* One client's, or a detached command. */
struct Session {
    Sessions *all;   /* borrowed */
    Session *next;   /* owned by the list */
    Watched socket;  /* closed: a detached command */
    uint32_t events; /* that the loop watches for */
    uint8_t request; /* FrameType; 0: attach, and wait */
    bool owner;
    bool over;          /* to be freed at the end of the round */
    LinkStream *stream; /* borrowed from the link; NULL once it has ended */
    FrameReader reader; /* owned */
    int input_fd;       /* owned: a file that is the input, instead of frames; -1: none */
    uint8_t *input;     /* owned: what was read of it */
    Frame pending;      /* of the client, not (fully) given to the link; type 0: none */
    size_t pending_sent;
    bool input_ended; /* EOF was sent to the guest */
    uint8_t *rest;    /* owned; of a long request, which goes as DATA; NULL: all of it went */
    size_t rest_done;
    size_t rest_size;
    bool eof_due; /* behind the rest */
    Fifo out, err, last;
    uint8_t last_type;                 /* of the last frame; 0: it is not known yet */
    bool eof, eof_err;                 /* to be sent */
    uint32_t taken_bytes;              /* by the client, not yet granted to the guest again */
    uint8_t header[FRAME_HEADER_SIZE]; /* of the frame that is being sent */
    size_t header_left;
    Fifo *body; /* where its payload is; NULL: none */
    size_t body_left;
    uint8_t sending_type;
    Answer answer;       /* to a client that speaks plain HTTP */
    LoopSource *timer;   /* of its time, or of a wait */
    unsigned timer_step; /* session_timeout.c */
    uint64_t timed_out;  /* TimedOut; 0: not */
    Detached *detached;  /* owned; NULL: it has a client */
    char waits_for[DETACHED_ID_SIZE];
};

/* Sends what the client's socket takes, or keeps what a detached command prints. */
void session_send(Session *session);

/* What comes at the end, when nothing did before. */
void session_set_last(Session *session, uint8_t type, const void *payload, size_t size);
void session_set_error(Session *session, const Error *error);
void session_set_exit(Session *session, uint64_t status);

/* Reads an EXIT of the guest. */
int session_read_exit(const void *payload, size_t size, uint64_t *status);

#endif
