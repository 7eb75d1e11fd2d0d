/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_IDENTITY_GUEST_IDENTITY_H
#define RAMET_AGENT_IDENTITY_GUEST_IDENTITY_H

#include "agent/identity/authorized_keys.h"
#include "agent/identity/generation.h"
#include "agent/identity/network.h"

/* The host's idea of the time. */
typedef struct Clock {
    bool given;
    uint64_t realtime_usec;
    uint64_t uptime_usec; /* of this agent's clock at that time; 0: now */
    uint64_t limit_usec;  /* smaller differences stay */
} Clock;

#define IDENTITY_MOUNTS_MAX 7

/* What makes one clone differ from its siblings. Empty strings and false: leave it. */
typedef struct GuestIdentity {
    char hostname[65];
    char machine_id[33];
    char boot_id[37];
    uint8_t entropy[256];
    size_t entropy_size;
    Clock clock;
    size_t n_networks;
    Network networks[NETWORK_CARDS_MAX];
    Dns dns;
    bool ssh_keys;
    char ssh_key[512], ssh_public_key[192]; /* "": the guest makes them */
    Logins logins;
    bool has_generation;
    uint8_t generation[GENERATION_SIZE];
    size_t n_mounts;
    char mounts[IDENTITY_MOUNTS_MAX][192]; /* as disks_mount_word() wants them */
    char changed_disk[192];                /* as disks_change() wants it */
    bool hooks;
    bool resize_root;
    bool exclusive; /* found out when it was applied: nobody else had run */
} GuestIdentity;

/* 0 or -EBADMSG with the reason. */
int guest_identity_parse(const void *payload, size_t size, GuestIdentity *identity, Result *result);

/* All that is quick, in order: entropy, clock, hostname, machine-id, boot-id, network, DNS. The
 * result names the step that failed. */
int guest_identity_apply(const GuestIdentity *identity, Result *result);

/* True when something slow is left: another disk, SSH keys, those who log in by them, hooks,
 * growing. guest_identity_finish does that, as a worker with the GuestIdentity as its data. */
bool guest_identity_has_more(const GuestIdentity *identity);
void guest_identity_finish(void *data, int in, int out, Result *result);

/* True when applying it (not what is left then) would write to a disk, and so hang while the file
 * systems are frozen. */
bool guest_identity_needs_disk(const GuestIdentity *identity);

/* The first step alone: the kernel's random numbers. */
int guest_identity_add_entropy(const GuestIdentity *identity, Result *result);

/* Steps the clock when it is off by more than the limit. */
int guest_identity_set_clock(const Clock *clock, Result *result);

/* Single steps, for an init that runs before the identity comes. The disk is not written to, but
 * that a missing machine-id is made (empty) to mount on. 0 or a negative errno. */
int guest_identity_cover_machine_id(const char *machine_id);
int guest_identity_name(const char *hostname);

/* Before a snapshot: finds out and opens what the identity of a clone will need. What was found is
 * believed until guest_identity_forget, so nothing may change it in between. */
void guest_identity_prepare(void);
void guest_identity_forget(void);

/* After guest_identity_prepare: takes and gives back each lock of the kernel's that applying it
 * takes, one after the other. */
void guest_identity_take_locks(void);

#endif
