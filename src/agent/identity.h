/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_IDENTITY_H
#define RAMET_AGENT_IDENTITY_H

#include "agent/network.h"

/* The host's idea of the time. */
typedef struct Clock {
    bool given;
    uint64_t realtime_usec;
    uint64_t uptime_usec; /* of this agent's clock at that time; 0: now */
    uint64_t limit_usec;  /* smaller differences stay */
} Clock;

/* What makes one clone differ from its siblings. Empty strings and false: leave it. */
typedef struct Identity {
    char hostname[65];
    char machine_id[33];
    char boot_id[37];
    uint8_t entropy[256];
    size_t entropy_size;
    Clock clock;
    Network network;
    bool ssh_keys;
    bool hooks;
    bool grow_root;
} Identity;

/* 0 or -EBADMSG with the reason. */
int identity_parse(const void *payload, size_t size, Identity *identity, Result *result);

/* All that is quick, in order: entropy, clock, hostname, machine-id, boot-id, network, DNS. The
 * result names the step that failed. */
int identity_apply(const Identity *identity, Result *result);

/* True when something slow is left: SSH keys, hooks, growing. identity_finish does that, as a
 * worker with the Identity as its data. */
bool identity_has_more(const Identity *identity);
void identity_finish(void *data, int in, int out, Result *result);

/* True when applying it would write to a disk, and so hang while the file systems are frozen. */
bool identity_needs_disk(const Identity *identity);

/* Steps the clock when it is off by more than the limit. */
int identity_set_clock(const Clock *clock, Result *result);

/* Single steps, for an init that runs before the identity comes. The disk is not written to, but
 * that a missing machine-id is made (empty) to mount on. 0 or a negative errno. */
int identity_cover_machine_id(const char *machine_id);
int identity_name(const char *hostname);

/* Before a snapshot: finds out and opens what the identity of a clone will need. What was found is
 * believed until identity_forget, so nothing may change it in between. */
void identity_prepare(void);
void identity_forget(void);

#endif
