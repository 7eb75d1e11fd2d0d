/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_PORTS_SWITCH_H
#define RAMET_SWITCH_PORTS_SWITCH_H

/* What a switch is made of: its network, its ports, and what the parts keep in common. The way of a
 * frame from a guest:
 *
 *   port.c      reads a batch from the socket into buffers
 *   check.c     is it what the lease allows?
 *   ingress.c   to a sibling, to all, or to the gateway
 *   gateway.c   ARP, ND, ping and DNS are answered; the rest goes to the uplink
 *   deliver.c   through impairment, past captures and a hold, into the receiver's queue
 *   port.c      writes queues to sockets, at the end of a round
 *
 * and of one from outside: uplink.c, deliver.c. Each of them uses those below; only a few calls go
 * up, through pointers here. */

#include "switch/frame/bucket.h"
#include "switch/frame/connections.h"
#include "switch/frame/queue.h"
#include "switch/frame/shaper.h"

typedef struct Switch Switch;
typedef struct Capture Capture;
typedef struct Uplink Uplink;
typedef struct Resolver Resolver;
typedef struct DnsTcp DnsTcp;
typedef struct Uplinks Uplinks;

/* What is behind a gateway: the network's, or, in a network that is apart, a port's. */
typedef struct Outside {
    Uplink *uplink;  /* owned by the uplink's part; NULL: none, or nobody needed it yet */
    DnsTcp *dns_tcp; /* likewise; NULL: nobody asked yet */
} Outside;

/* Where impairment stands on a frame's way. A frame that comes out of it goes on at the next one.
 */
typedef enum ShapedAt {
    STAGE_PORT_OUT,
    STAGE_NETWORK_OUT,
    STAGE_NETWORK_IN,
    STAGE_PORT_IN,
    STAGE_END
} ShapedAt;

#define BATCH 32

typedef struct Port {
    Switch *owner; /* borrowed */
    SwitchPort lease;
    uint8_t link_local[16]; /* of its MAC; and of the guest's, when that is another */
    uint8_t guest_link_local[16];
    bool translated; /* the guest's MAC is another */
    uint16_t slot;
    Watched socket;
    bool writes; /* waits for room in the socket */
    bool queued; /* is in the list of those to be flushed */
    Queue queue;
    Buffer *sending[BATCH]; /* taken from the queue, not yet by the socket */
    unsigned n_sending;
    uint64_t broadcast_credit; /* in millionths of a frame */
    uint64_t broadcast_usec;   /* when that was so */
    SwitchCounters counters;
    Shaper shape_out, shape_in;
    SwitchLimit limit;
    Bucket frames_out, frames_in;
    Connections *connections; /* owned; NULL: not limited */
    Outside outside;          /* where the network is apart */
} Port;

/* Slots of ports by what they have: table.c. 0 is empty. */
typedef enum TableKind {
    TABLE_MAC,
    TABLE_IP,
    TABLE_IP6,
    TABLE_LINK_LOCAL,
    TABLE_ID,
    TABLE_NAME,
    TABLES
} TableKind;
#define TABLE_SIZE 16384u

/* What a port had that is gone, or is another by now. */
#define FORMER_LEASES 64
typedef struct FormerLease {
    uint8_t mac[6], ip[4], ip6[16];
} FormerLease;

struct Switch {
    Loop *loop; /* borrowed */
    SwitchNetwork network;
    bool configured;
    uint8_t gateway_link_local[16];
    BufferPool pool;
    Port *ports[SLOTS_MAX]; /* owned; [SLOT_GATEWAY] is NULL */
    uint16_t slots;         /* above the last one in use */
    uint64_t serial;
    FormerLease former[FORMER_LEASES]; /* a ring */
    size_t n_former;
    uint16_t tables[TABLES][TABLE_SIZE];
    uint16_t flush[SLOTS_MAX]; /* slots of ports with something to send */
    uint16_t n_flush;
    SwitchCounters counters; /* drops that no port can be charged with */
    size_t kept_bytes;
    Shaper shape_out, shape_in;
    bool held;
    KeptList hold;
    LoopSource *hold_timer;
    Capture *captures[SWITCH_CAPTURES_MAX]; /* owned */
    uint64_t capture_serial;
    SwitchForward *forwards; /* owned */
    size_t n_forwards;
    Outside outside;    /* where the network is not apart */
    Uplinks *uplinks;   /* owned by the uplink's part: what all of them have in common */
    Resolver *resolver; /* likewise */
    Watched names;      /* fd -1: names are asked for by frames (outside/names.c) */
    void (*receive)(Port *port, Buffer *buffer);          /* ingress.c: owns the buffer */
    void (*to_uplink)(Switch *net, const Buffer *buffer); /* uplink.c */
    bool quit;
};

#endif
