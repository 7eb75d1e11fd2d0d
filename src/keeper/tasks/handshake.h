/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_TASKS_HANDSHAKE_H
#define RAMET_KEEPER_TASKS_HANDSHAKE_H

/* From a greeting to a guest that is itself: identity, clock, thaw. */

#include "keeper/guest/agent_channel.h"
#include "keeper/guest/identity_payload.h"

typedef struct HandshakeHandlers {
    void (*applied)(void *data, char *note); /* the identity is; note: owned, may be NULL */
    void (*done)(void *data);
    void (*failed)(void *data, Error *error); /* takes the error over */
} HandshakeHandlers;

/* The host's time when the guest's uptime was 0 lies between them. */
typedef struct ClockBounds {
    uint64_t least_usec, most_usec;
} ClockBounds;

typedef struct Handshake {
    AgentChannel *channel;             /* borrowed */
    const Plan *plan;                  /* borrowed */
    const HandshakeHandlers *handlers; /* borrowed */
    void *data;                        /* borrowed; for the handlers */
    bool active;                       /* else what the agent says is of no interest any more */
    LinkStream *identity;              /* borrowed; while it is being applied */
    LinkStream *clock;                 /* borrowed; while it is being set */
    bool named;                        /* the identity is applied */
    bool exclusive;                    /* a restore: nobody but the agent ran before that */
    bool took_ssh_key;                 /* the guest has the host key that it was given */
    uint64_t
        greeted_usec; /* the host's time when greeting and identity were sent; 0: they were not */
    ClockBounds bounds;
    ClockPair told;     /* what the guest's clock was last set by */
    uint64_t sent_usec; /* the host's time when CLOCK was sent */
    unsigned clocks_sent;
} Handshake;

void handshake_init(Handshake *handshake, AgentChannel *channel, const Plan *plan,
                    const HandshakeHandlers *handlers, void *data);

/* A guest boots: its agent announces itself, and the link greets it. */
void handshake_expect(Handshake *handshake);

/* Greets an agent that was restored or stood still and listens for that marker, with its identity
 * right behind. It lies in the link then. */
int handshake_greet(Handshake *handshake, const uint8_t *marker, Error *error);

/* The link is up. */
int handshake_welcomed(Handshake *handshake, Error *error);

#endif
