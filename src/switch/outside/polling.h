/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_OUTSIDE_POLLING_H
#define RAMET_SWITCH_OUTSIDE_POLLING_H

/* What uplinks wait for. libslirp is made for poll(2): it names all of its descriptors, and then
 * wants to hear which of them are ready. Here they are in an epoll set of their own for each
 * uplink, which is one descriptor of the loop and is brought up to date once a round, after
 * libslirp did something; so frames between ports cost nothing of that, nor do uplinks that are
 * idle. */

#include <netinet/in.h>

#include "switch/ports/switch.h"

struct Slirp;

typedef struct Polling {
    Uplinks *all;        /* borrowed */
    struct Slirp *slirp; /* borrowed */
    Watched events;      /* the epoll set */
    int *fds;            /* owned: those that libslirp named, each once */
    unsigned n_fds, room;
    uint32_t generation;
    bool dirty; /* libslirp may wait for something else now, and this is in the list of those */
    bool timed; /* is in the list of those with a time */
    uint64_t due_usec; /* when libslirp wants to be called in any case; UINT64_MAX: never */
    struct Polling *next_dirty, *next_timed; /* borrowed */
    bool (*before)(void *data); /* at the end of a round, before libslirp is asked; true: call it
                                   again at once */
    void *data;                 /* borrowed */
} Polling;

/* What all uplinks of the program have in common. 0 or -ENOMEM. */
int uplinks_new(Loop *loop, Uplinks **uplinks);
void uplinks_free(Uplinks *uplinks);

/* How many descriptors all of them wait for, and how many of those that one may have. */
unsigned uplinks_share(const Uplinks *uplinks);

/* Begins, with the uplink's `before` and `data` set. 0 or a negative errno. end: after the
 * slirp is freed. */
int polling_begin(Polling *polling, Uplinks *uplinks);
void polling_end(Polling *polling);

/* libslirp did something, or is about to. */
void polling_touch(Polling *polling);

/* Its callbacks (register_poll_fd, unregister_poll_fd): a descriptor is new, or will be closed. */
void polling_forget(Polling *polling, int fd);

/* At the end of each round. */
void uplinks_settle(Uplinks *all);

/* Its own socket of that type with that address; -1: there is none. Borrowed. */
int polling_find_socket(const Polling *polling, const struct sockaddr_in *address, int type);

#endif
