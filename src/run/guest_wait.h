/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_GUEST_WAIT_H
#define RAMET_RUN_GUEST_WAIT_H

/* Waiting for a guest, on one end of a stream whose other end its keeper has, with all that may
 * come between: the client goes away, the time is over, or the host has no room for what the guest
 * writes, and the VM waits for some (keeper/tasks/room.c). Who waits for the guest hears of that at
 * once, as a note, and again when it goes on. It is waited for GUEST_ROOM_SECONDS: that is time to
 * free some for who reads the note, and an end where nobody does. */

#include "home/home.h"
#include "home/operation.h"
#include "store/vms.h"

#define GUEST_ROOM_SECONDS 300

typedef struct GuestWait {
    Home *home;             /* borrowed, as are the operation and the descriptor */
    Operation *operation;   /* is told */
    int fd;                 /* the stream */
    uint64_t deadline_usec; /* monotonic */
    uint64_t no_room_usec;  /* monotonic: since when; 0: the host has room */
    int keeper_fd;          /* owned: its keeper says there what becomes of the VM; -1: does not */
} GuestWait;

/* The row is of a VM whose keeper has the other end. */
void guest_wait_begin(GuestWait *wait, Home *home, Operation *operation, const VmRow *row, int fd,
                      uint64_t deadline_usec);
void guest_wait_end(GuestWait *wait);

/* 0, and what poll(2) says of the stream, which may be nothing. ERROR_CANCELLED; ERROR_TIMEOUT;
 * ERROR_NO_SPACE: the time is over in which the host had to have room, or the other one while it
 * had none. */
int guest_wait(GuestWait *wait, short events, short *revents, Error *error);

#endif
