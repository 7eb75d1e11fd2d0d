/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_GUEST_AGENT_CHANNEL_H
#define RAMET_KEEPER_GUEST_AGENT_CHANNEL_H

/* The agent's channel: moves bytes between QEMU's virtio-serial socket and the link, and, while a
 * guest is restored, between the agent's mailbox and the link. */

#include "keeper/guest/mailbox.h"

typedef struct AgentChannelHandlers {
    void (*announced)(void *data);     /* an agent has started */
    void (*welcomed)(void *data);      /* the link is up; `welcome` tells of the agent */
    void (*program_ended)(void *data); /* `program` tells how */
    /* The agent could not even start, and why; fit for a terminal. */
    void (*failed)(void *data, const char *why);
    void (*received)(void *data); /* bytes came from the guest */
} AgentChannelHandlers;

typedef struct AgentChannel {
    Loop *loop;                           /* borrowed */
    const AgentChannelHandlers *handlers; /* borrowed */
    void *data;                           /* borrowed; for the handlers */
    Watched socket;
    bool waits_for_room; /* in the socket */
    Link link;
    LinkWelcome welcome; /* of the last greeting */
    LinkProgram program; /* as the agent said last */
    Mailbox mailbox;
    uint64_t losses; /* how often the link was lost */
} AgentChannel;

/* 0 or -ENOMEM. The socket is set by who starts QEMU. */
int agent_channel_init(AgentChannel *channel, Loop *loop, const AgentChannelHandlers *handlers,
                       void *data);
void agent_channel_free(AgentChannel *channel);

/* Has the loop look after the socket. */
int agent_channel_watch(AgentChannel *channel);

/* Writes what the link has to say as far as the socket takes it; how many bytes it took. Due at the
 * end of each round of the loop, and before anything that blocks the loop until the agent reads. */
size_t agent_channel_flush(AgentChannel *channel);

/* Has the agent let everybody run again, and the file systems be written to. The answer goes to the
 * log only. As link_open. */
int agent_channel_thaw(AgentChannel *channel);

/* Reads what an ended QEMU left. */
void agent_channel_drain(AgentChannel *channel);

/* No guest any more: ends all streams. */
void agent_channel_close(AgentChannel *channel);

#endif
