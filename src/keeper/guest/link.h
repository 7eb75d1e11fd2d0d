/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_GUEST_LINK_H
#define RAMET_KEEPER_GUEST_LINK_H

/* The keeper's end of the agent's protocol (proto/agent.h), without any I/O: bytes from the guest
 * go in, checked frames come out through handlers, bytes for the guest wait in a bounded buffer.
 * All that a hostile guest can do to the keeper over the agent's channel, it does to this module.
 */

#include <stdbool.h>
#include <stdint.h>

#include "proto/agent.h"
#include "proto/frame.h"

typedef enum LinkState {
    LINK_SILENT,    /* nothing was heard of an agent; its ANNOUNCE starts the greeting */
    LINK_GREETING,  /* marker and HELLO are on their way; looking for the nonce in raw bytes */
    LINK_WELCOMING, /* the nonce was seen; the next frame must be WELCOME */
    LINK_UP,
} LinkState;

typedef struct LinkWelcome {
    uint64_t version;
    char agent_version[64];
    uint8_t ram_nonce[AGENT_NONCE_SIZE];
    uint64_t counter;
    uint64_t uptime_usec;
    uint64_t realtime_usec;
    bool init;
    bool exclusive; /* nobody but the agent has run since the FREEZE that it was restored from */
} LinkWelcome;

/* How the program of the VM ended. */
typedef struct LinkProgram {
    bool ended;
    uint8_t exit_code;
    uint64_t ended_at_usec; /* realtime, by the guest's clock: any number */
} LinkProgram;

typedef struct Link Link;
typedef struct LinkStream LinkStream;

/* A frame of the stream; its type fits the request and its data is within the credit. After EXIT or
 * RESULT, and after frame == NULL, which says that the link was lost, the stream is gone: do not
 * touch it again. */
typedef void (*LinkStreamHandler)(void *data, const Frame *frame);

struct LinkStream {
    uint16_t id;     /* 0: this place is free */
    uint8_t request; /* the FrameType that opened it */
    bool eof_in;     /* the agent has ended its data */
    bool eof_err_in;
    uint32_t credit_in;  /* bytes of data that the agent may still send */
    uint32_t credit_out; /* and we */
    LinkStreamHandler handler;
    void *data; /* borrowed */
};

typedef struct LinkHandlers {
    void (*announced)(void *data); /* a sign of life; the greeting is already on its way */
    void (*welcomed)(void *data, const LinkWelcome *welcome);
    void (*program_ended)(void *data, const LinkProgram *program);
    /* The agent could not even start: JSON text {"error":…}, hostile. */
    void (*failed)(void *data, const char *text, size_t size);
    /* The guest broke the rules (why) or its agent started anew. Streams have been told before. */
    void (*lost)(void *data, const char *why);
} LinkHandlers;

struct Link {
    LinkState state;
    LinkHandlers handlers;
    void *data; /* borrowed; for the handlers */
    FrameReader reader;
    uint8_t marker[AGENT_MARKER_SIZE];      /* what the agent listens for now */
    uint8_t next_marker[AGENT_MARKER_SIZE]; /* what it listens for once it has had our HELLO */
    uint8_t nonce[AGENT_NONCE_SIZE];
    size_t matched; /* how much of the nonce the last bytes were */
    uint32_t session;
    uint16_t last_id;
    uint64_t skipped_seen;
    int64_t tolerance_bytes; /* of frames and bytes that make no sense; below 0 the link is lost */
    LinkStream streams[AGENT_STREAMS_MAX];
    uint8_t *out; /* owned; LINK_OUT_ROOM bytes */
    size_t out_start;
    size_t out_end;
};

#define LINK_OUT_ROOM (256u * 1024u)
#define LINK_OUT_DATA_LIMIT (64u * 1024u)     /* no DATA goes in above it */
#define LINK_OUT_REQUEST_LIMIT (128u * 1024u) /* and no request */

/* Silent at first. 0 or -ENOMEM. The handlers are copied, data is borrowed. */
int link_init(Link *link, const LinkHandlers *handlers, void *data);
void link_free(Link *link);

/* Greets an agent that listens for `marker`. */
void link_greet(Link *link, const uint8_t marker[AGENT_MARKER_SIZE]);

/* Where to read bytes to, and that they came. Calls handlers. */
uint8_t *link_space(Link *link, size_t *size);
void link_received(Link *link, size_t size);

/* What to write to the guest. */
const uint8_t *link_output(const Link *link, size_t *size);
void link_output_taken(Link *link, size_t size);

/* Opens a stream with a request. -ENOTCONN: no agent; -EBUSY: all streams are in use or the guest
 * does not read; -E2BIG. */
int link_open(Link *link, uint8_t request, const void *payload, size_t size,
              LinkStreamHandler handler, void *data, LinkStream **stream);

/* The same, also right behind a greeting: what is sent is void, and the handler told so, when the
 * greeting is not answered by a WELCOME. */
int link_open_ahead(Link *link, uint8_t request, const void *payload, size_t size,
                    LinkStreamHandler handler, void *data, LinkStream **stream);

/* How many bytes of DATA may be sent now: credit, and room in the buffer. */
size_t link_data_room(const Link *link, const LinkStream *stream);

/* Sends a frame within a stream; DATA must fit in link_data_room. -EBUSY: the guest does not read.
 */
int link_send(Link *link, LinkStream *stream, uint8_t type, const void *payload, size_t size);

/* Grants the agent more credit. -EBUSY: try again when output was taken. */
int link_grant(Link *link, LinkStream *stream, uint32_t bytes);

/* Gives a stream up: its handler is not called again. */
void link_cancel(Link *link, LinkStream *stream);

/* The connection to the guest is gone: ends all streams and calls no `lost`. */
void link_close(Link *link);

#endif
