/* SPDX-License-Identifier: Apache-2.0 */
#include "run/guest_wait.h"

#include <errno.h>
#include <poll.h>

#include "base/clock.h"
#include "base/fd.h"
#include "home/row.h"
#include "proto/keeper.h"

#define ROOM_USEC (GUEST_ROOM_SECONDS * USEC_PER_SEC)
#define CALL_TIMEOUT_USEC (30 * USEC_PER_SEC)

static void stop_listening(GuestWait *wait) {
    wait->keeper_fd = fd_close(wait->keeper_fd);
}

/* Where the keeper does not say what becomes of the VM, the stream does. */
void guest_wait_begin(GuestWait *wait, Home *home, Operation *operation, const VmRow *row, int fd,
                      uint64_t deadline_usec) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "watch");
    _cleanup_close_ int dir_fd = -1;
    KeeperConnection keeper = {.fd = -1};
    *wait = (GuestWait){.home = home,
                        .operation = operation,
                        .fd = fd,
                        .deadline_usec = deadline_usec,
                        .keeper_fd = -1};
    if (vm_folder_open(home, row->id, &dir_fd, NULL) == 0 &&
        keeper_connect(dir_fd, &keeper, NULL) == 0 &&
        keeper_send(&keeper, request, NULL, 0, NULL) < 0)
        keeper_close(&keeper);
    wait->keeper_fd = keeper.fd;
}

void guest_wait_end(GuestWait *wait) {
    stop_listening(wait);
}

static void note_room(GuestWait *wait, bool no_room) {
    if (no_room == (wait->no_room_usec > 0))
        return;
    wait->no_room_usec = no_room ? clock_monotonic_usec() : 0;
    if (no_room)
        operation_note(wait->operation,
                       "the host has no room for what the guest writes, and it waits for some, for "
                       "%d s at most: free some where %s is (ramet df, ramet prune)",
                       GUEST_ROOM_SECONDS, home_path(wait->home));
    else
        operation_note(wait->operation, "the host has room again, and the guest goes on");
}

static void hear_keeper(GuestWait *wait) {
    _cleanup_json_ json_t *event = NULL;
    KeeperConnection keeper = {.fd = wait->keeper_fd};
    int r = keeper_receive(&keeper, clock_monotonic_usec() + CALL_TIMEOUT_USEC,
                           wait->operation->cancel_fd, &event, NULL);
    if (r < 0)
        stop_listening(wait);
    else if (json_object_get(event, "state"))
        note_room(wait, json_is_true(json_object_get(event, "no_room")));
}

static int time_over(const GuestWait *wait, Error *error) {
    int r;
    if (wait->no_room_usec == 0)
        return error_set(error, ERROR_TIMEOUT, ETIMEDOUT, "the guest's time is over");
    r = error_set(
        error, ERROR_NO_SPACE, ENOSPC,
        "the host has no room for what the guest writes, and had none for %llu s",
        (unsigned long long)((clock_monotonic_usec() - wait->no_room_usec) / USEC_PER_SEC));
    error_set_hint(error,
                   "free some where %s is: ramet df tells what takes it, ramet prune "
                   "removes what nothing uses",
                   home_path(wait->home));
    return r;
}

static uint64_t next_deadline(const GuestWait *wait) {
    return wait->no_room_usec == 0 ? wait->deadline_usec
                                   : MIN_OF(wait->deadline_usec, wait->no_room_usec + ROOM_USEC);
}

int guest_wait(GuestWait *wait, short events, short *revents, Error *error) {
    struct pollfd fds[] = {{.fd = wait->fd, .events = events},
                           {.fd = wait->operation->cancel_fd, .events = POLLIN},
                           {.fd = wait->keeper_fd, .events = POLLIN}};
    int n = poll(fds, ARRAY_SIZE(fds), clock_poll_timeout(next_deadline(wait)));
    if (n < 0 && errno != EINTR)
        return error_set_errno(error, errno, "cannot wait for the guest");
    if (n == 0)
        return time_over(wait, error);
    if (n > 0 && fds[1].revents)
        return error_set(error, ERROR_CANCELLED, ECANCELED, "the client went away");
    if (n > 0 && fds[2].revents)
        hear_keeper(wait);
    *revents = n > 0 ? fds[0].revents : 0;
    return 0;
}
