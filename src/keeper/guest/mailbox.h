/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_GUEST_MAILBOX_H
#define RAMET_KEEPER_GUEST_MAILBOX_H

/* The agent's mailbox (AgentMailbox) in the memory of a guest that was restored: what the keeper
 * says first, and what the agent answers at once. */

#include "base/loop.h"
#include "keeper/guest/link.h"
#include "memory/ram.h"

typedef struct Mailbox {
    Loop *loop;          /* borrowed */
    Link *link;          /* borrowed */
    GuestRam ram;        /* owned */
    uint64_t offset;     /* in it */
    size_t read_bytes;   /* of the agent's answers; the link has had them */
    uint64_t since_usec; /* monotonic */
    LoopSource *timer;   /* of the next poll; NULL: it is not in use */
    bool finishing;      /* the next poll is the last one */
} Mailbox;

void mailbox_init(Mailbox *mailbox, Loop *loop, Link *link);

/* Is it there, at that offset of the memory, and open for that marker? */
bool mailbox_is_open(const GuestRam *ram, uint64_t offset, const uint8_t *marker);

/* Moves what the link has to say into the mailbox, and polls it for answers from then on. Returns 1
 * and takes *ram over; 0 when the mailbox is not there or does not hold as much, which the log
 * says; or a negative errno. */
int mailbox_post(Mailbox *mailbox, GuestRam *ram, uint64_t offset, const uint8_t *marker,
                 Error *error);

/* Gives the link what came since. */
void mailbox_receive(Mailbox *mailbox);

/* Looks once more, and then no more; or stops now. */
void mailbox_finish(Mailbox *mailbox);
void mailbox_stop(Mailbox *mailbox);

#endif
