/* SPDX-License-Identifier: Apache-2.0 */

#include "machine/start_slots.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

static pthread_once_t slots_once = PTHREAD_ONCE_INIT;
static int slots_fd = -1; /* a semaphore: its count is what is free */

long start_slots_max(void) {
    return 2 * MAX_OF(sysconf(_SC_NPROCESSORS_ONLN), 1L);
}

static void make_slots(void) {
    slots_fd = eventfd((unsigned)start_slots_max(), EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
}

/* Waits as long as the client does. */
int start_slot_acquire(int cancel_fd, Error *error) {
    struct pollfd fds[2] = {{.events = POLLIN}, {.fd = cancel_fd, .events = POLLIN}};
    eventfd_t one;
    (void)pthread_once(&slots_once, make_slots);
    fds[0].fd = slots_fd;
    while (eventfd_read(slots_fd, &one) < 0) {
        if (errno != EAGAIN && errno != EINTR)
            return error_set_errno(error, errno, "cannot wait for the start of others");
        if (poll(fds, 2, -1) > 0 && fds[1].revents)
            return error_set(error, ERROR_CANCELLED, ECANCELED, "the client went away");
    }
    return 0;
}

void start_slot_release(void) {
    (void)eventfd_write(slots_fd, 1);
}
