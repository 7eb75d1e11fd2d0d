/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_SWITCH_H
#define RAMET_PROTO_SWITCH_H

/* The daemon's side of ramet-switch: a SOCK_SEQPACKET unix socket that the switch got as a
 * listening descriptor. A message is u16 number (little-endian; a SwitchOperation, or
 * SwitchAnswer), u16 0, and fields of proto/tlv.h; descriptors come beside it. Each request is
 * answered by one message, in order, over a connection that may carry any number of them. Several
 * connections at once are fine; when one ends, nothing that it asked for is undone.
 *
 * Every request that sets something says the whole of it, and may be said again: a daemon that does
 * not know what a switch has, because either was killed, says all of it again (SWITCH_NETWORK, then
 * SWITCH_PORT and SWITCH_FORWARD for each) and removes what the lists have beyond that. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SWITCH_PROTOCOL_VERSION 1
#define SWITCH_MESSAGE_MAX 32768
#define SWITCH_PORTS_MAX 1024
#define SWITCH_APART_MAX 4096 /* ports of a network in which each is alone */
#define SWITCH_FORWARDS_MAX 8192
#define SWITCH_CAPTURES_MAX 8
#define SWITCH_RESOLVERS_MAX 3
#define SWITCH_ID_SIZE                                                                             \
    96                      /* of a port, with its NUL: printable, chosen by the daemon ("VMID/0") \
                             */
#define SWITCH_NAME_SIZE 64 /* of a VM, or network */

typedef enum SwitchOperation {
    SWITCH_HELLO = 1,   /* ← version, ramet, pid */
    SWITCH_NETWORK,     /* SwitchNetwork. Once ports are there its addresses stay */
    SWITCH_GET_NETWORK, /* ← SwitchNetwork, SwitchCounters (of all), impair, held */
    SWITCH_PORT,        /* SwitchPort and, when the port is new, the switch's end of its socket pair
                           (SOCK_DGRAM, one frame a datagram), SwitchImpair and SwitchLimit, so
                           that no frame passes before they hold; with a known id: its new lease,
                           and perhaps its new socket. An address, MAC or name that another port has
                           is a conflict */
    SWITCH_REMOVE_PORT, /* id: with its forwards and impairment. Not found: an error */
    SWITCH_LIST_PORTS,  /* after (a serial; absent: from the start)
                           ← SWITCH_TAG_ITEM*: SwitchPort, SwitchCounters, impair, SwitchLimit;
                           none: the end */
    SWITCH_FORWARD, /* SwitchForward: the switch listens on the host, or on the socket that comes
                       with it, which is bound there, and listens if it is TCP's: for ports that
                       the switch must not have. The same again: no change; the host's port
                       taken: a conflict */
    SWITCH_REMOVE_FORWARD, /* udp, host_ip, host_port */
    SWITCH_LIST_FORWARDS,  /* after: how many were seen ← SWITCH_TAG_ITEM*: SwitchForward */
    SWITCH_IMPAIR,      /* id (absent: the whole network), SwitchImpair: replaces what was there */
    SWITCH_CAPTURE,     /* id (absent: the whole network), a pipe's or socket's writing end that
                           takes pcapng ← capture. It ends with SWITCH_END_CAPTURE or when nobody
                           reads any more */
    SWITCH_END_CAPTURE, /* capture ← captured, lost: frames */
    SWITCH_HOLD, /* from now on no frame is delivered, of ports and uplink; within bounds they are
                    kept. Answered when that is so. A hold ends after SWITCH_HOLD_MAX_USEC by
                    itself, as released, in case that nobody is left to end it */
    SWITCH_RELEASE,      /* discard: whether what was held is dropped instead of delivered */
    SWITCH_QUIT,         /* answered; then the program ends */
    SWITCH_NAMES,        /* a UDP socket at the gateway's address: the host's own bridge passes the
                            frames, names are answered there, and ports come without sockets */
    SWITCH_LIMIT = 24,   /* id, SwitchLimit: replaces what was there */
    SWITCH_CAPTURE_FROM, /* capture, a packet socket (packet(7)): the frames of that capture come
                            from there, since the host's own bridge passes them */
} SwitchOperation;

#define SWITCH_HOLD_MAX_USEC (60u * 1000u * 1000u)

typedef enum SwitchAnswer {
    SWITCH_OK = 128,
    SWITCH_ERROR, /* code (error_kind_code), errnum, message, hint */
} SwitchAnswer;

/* The network as a whole. The gateway is the switch itself: it answers ARP, ND, ping and DNS there
 * whether or not there is an uplink. */
typedef struct SwitchNetwork {
    char name[SWITCH_NAME_SIZE];
    uint8_t subnet[4];  /* network byte order, as all addresses here; all zero: no IPv4 */
    uint64_t prefix;    /* 8 … 30 */
    uint8_t gateway[4]; /* within the subnet */
    uint8_t dns[4];     /* also the gateway's, but for names; all zero: there is no such address */
    uint8_t subnet6[16];
    uint64_t prefix6; /* 0: no IPv6; else 48 … 120 */
    uint8_t gateway6[16];
    uint8_t gateway_mac[6]; /* what gateways answer with */
    uint64_t mtu;           /* 0: 1500; at most that */
    bool isolated;          /* ports reach the gateway and what is behind it, not each other */
    bool apart;             /* isolated, and each port is alone as in a network of its own: all may
                               have the same MAC, addresses and name, none is known by a name, and
                               each has an uplink of its own, which also leases the port's address
                               by DHCP */
    bool uplink;
    bool allow_host; /* the gateway's address is the host's loopback, too; link-local and metadata
                        addresses are open */
    uint8_t
        resolvers[SWITCH_RESOLVERS_MAX * 16]; /* IPv4 ones mapped (::ffff:a.b.c.d); all zero:
                                                 those of /etc/resolv.conf as the switch began */
} SwitchNetwork;

/* A port and its lease. */
typedef struct SwitchPort {
    char id[SWITCH_ID_SIZE];
    char name[SWITCH_NAME_SIZE]; /* for DNS; "": none */
    uint8_t mac[6];              /* as the network sees it */
    uint8_t guest_mac[6];        /* as the guest's card has it; all zero: the same */
    uint8_t ip[4];               /* all zero: none, and then the guest may send no IPv4 */
    uint8_t ip6[16];
    bool router;     /* may send from addresses that no other port, and not the gateway, has */
    bool allow_host; /* as the network's, for this port alone; of a network that is apart */
    bool connected;  /* ← the socket's other end is there, as far as is known */
    uint64_t serial; /* ← grows with each new port: where a further list goes on */
} SwitchPort;

/* Why a frame was not delivered. switch_drop_names (switch_message.h) has their names. */
typedef enum SwitchDrop {
    SWITCH_DROP_RUNT,        /* shorter than its headers say */
    SWITCH_DROP_GIANT,       /* longer than the MTU */
    SWITCH_DROP_MALFORMED,   /* headers that contradict each other */
    SWITCH_DROP_VLAN,        /* tagged */
    SWITCH_DROP_PROTOCOL,    /* neither ARP, IPv4 nor IPv6 */
    SWITCH_DROP_SPOOFED_MAC, /* the source is not the lease's, and so on */
    SWITCH_DROP_SPOOFED_IP,
    SWITCH_DROP_SPOOFED_IP6,
    SWITCH_DROP_SPOOFED_ARP,
    SWITCH_DROP_SPOOFED_ND,
    SWITCH_DROP_DHCP,          /* a server's messages; and a client's, since there is no server */
    SWITCH_DROP_ADVERTISEMENT, /* a router's advertisement or redirect */
    SWITCH_DROP_UNREACHABLE,   /* nobody has that address, or nothing is behind the gateway */
    SWITCH_DROP_CLOSED,        /* the host's loopback, link-local and metadata addresses */
    SWITCH_DROP_ISOLATED,      /* to a sibling of an isolated network */
    SWITCH_DROP_FLOOD,         /* broadcasts above the port's rate */
    SWITCH_DROP_QUEUE,         /* the receiver takes no more, or no buffer was left */
    SWITCH_DROP_DISCONNECTED,  /* the receiver is gone */
    SWITCH_DROP_LOSS,          /* impairment: loss, and cut */
    SWITCH_DROP_HELD,          /* a hold's bound, or what was held and then discarded */
    SWITCH_DROP_LIMIT,         /* above the port's limit of bits or packets */
    SWITCH_DROP_CONNECTIONS,   /* would begin a connection above the port's limit of them */
    SWITCH_DROP_COUNT,
} SwitchDrop;

/* Seen from the guest: sent is what came from it (and was let through), received what it got. Drops
 * are counted at the port that sent the frame (those of the uplink's frames at their receiver). */
typedef struct SwitchCounters {
    uint64_t sent_frames, sent_bytes;
    uint64_t received_frames, received_bytes;
    uint64_t drops[SWITCH_DROP_COUNT];
} SwitchCounters;

typedef struct SwitchForward {
    char id[SWITCH_ID_SIZE]; /* the port */
    bool udp;
    uint8_t host_ip[4]; /* all zero: any */
    uint64_t host_port;
    uint64_t guest_port;
} SwitchForward;

/* One direction of impairment; all zero: none. */
typedef struct SwitchImpairment {
    uint64_t latency_usec; /* at most SWITCH_LATENCY_MAX_USEC, as jitter */
    uint64_t jitter_usec;  /* evenly within latency ± jitter */
    uint64_t loss_ppm;     /* of a million frames */
    uint64_t rate_bps;     /* bits a second; 0: as it comes */
    bool cut;
} SwitchImpairment;

#define SWITCH_LATENCY_MAX_USEC (60u * 1000u * 1000u)

/* A frame from one port to another passes `out` of the sender and `in` of the receiver, and those
 * of the network: `out` when it leaves for the uplink, `in` when it comes from there, and both of
 * them in between. */
typedef struct SwitchImpair {
    SwitchImpairment out; /* from the guest */
    SwitchImpairment in;  /* to the guest */
} SwitchImpair;

/* What a port may use; 0: no limit. */
typedef struct SwitchLimit {
    uint64_t out_bps;     /* bits a second, from the guest */
    uint64_t in_bps;      /* and to it */
    uint64_t packets;     /* a second, each way */
    uint64_t connections; /* TCP connections and UDP flows that it has open to outside */
} SwitchLimit;

#define SWITCH_CONNECTIONS_MAX 65535u

#endif
