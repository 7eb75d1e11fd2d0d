/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_QEMU_QMP_H
#define RAMET_QEMU_QMP_H

/* A client of QEMU's monitor protocol (QEMU's docs/interop/qmp-spec.rst): one JSON object a line,
 * replies matched to commands by id, events in between.
 *
 * Two ways to use it, which mix: blocking calls with a deadline; and, in a loop, qmp_fd() with
 * qmp_process() when it is readable, then qmp_next_event() until there is none. A blocking call
 * puts the events that it meets into the same queue: after any call, look there before you wait on
 * the descriptor.
 *
 * QEMU runs the guest, so what it sends is hostile: lines, nesting, the event queue and unclaimed
 * replies are bounded. After a malformed line or the end of the stream the connection is broken:
 * every later call fails with the same error. One thread at a time. */

#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"

#define QMP_LINE_MAX (4u * 1024u * 1024u) /* query-qmp-schema is 200 KiB on QEMU 7.2 */
#define QMP_EVENTS_MAX 256u /* then the oldest is dropped and qmp_events_lost() counts */
#define QMP_PENDING_MAX 64u /* commands without a reply yet */

typedef struct Qmp Qmp;

/* fd: a connected stream socket, owned by the client from here on; made non-blocking. */
Qmp *qmp_new(int fd);
void qmp_free(Qmp *qmp); /* closes the descriptor */
DEFINE_CLEANUP(Qmp *, qmp_free);

int qmp_fd(const Qmp *qmp); /* borrowed, for poll and epoll (EPOLLIN) */

/* Waits for the greeting and leaves negotiation mode (qmp_capabilities). The greeting may be NULL;
 * the caller owns it. -ECONNRESET when QEMU ended first: its standard error says why. */
int qmp_greeting(Qmp *qmp, uint64_t deadline_usec, json_t **greeting, Error *error);

/* Runs a command. arguments may be NULL and are borrowed. result (may be NULL) is the caller's.
 * Errors: QEMU's own words as "QMP COMMAND: DESC", kind ERROR_FAILED, errno EREMOTEIO (ENODEV for
 * class DeviceNotFound, ENOSYS and ERROR_UNSUPPORTED for CommandNotFound); -ETIMEDOUT at the
 * deadline (the connection stays good, a late reply is dropped); -ECONNRESET; -EBADMSG. */
int qmp_call(Qmp *qmp, const char *command, const json_t *arguments, uint64_t deadline_usec,
             json_t **result, Error *error);

/* The same with one descriptor (borrowed) passed beside it, for getfd and add-fd. */
int qmp_call_fd(Qmp *qmp, const char *command, const json_t *arguments, int fd,
                uint64_t deadline_usec, json_t **result, Error *error);

/* The two halves, so that several commands can be on their way at once (QEMU runs them in order).
 * Each id must be received, or given up with qmp_forget. fd -1: none. qmp_send also waits for the
 * greeting to be over only in so far as the caller sent qmp_capabilities first. */
int qmp_send(Qmp *qmp, const char *command, const json_t *arguments, int fd, uint64_t deadline_usec,
             uint64_t *id, Error *error);
int qmp_receive(Qmp *qmp, uint64_t id, uint64_t deadline_usec, json_t **result, Error *error);
void qmp_forget(Qmp *qmp, uint64_t id);

/* Reads what is there without blocking. 0, or a negative errno once the connection is broken
 * (-ECONNRESET: QEMU has ended). Events that came before the end are still in the queue. */
int qmp_process(Qmp *qmp, Error *error);

/* Takes the oldest event out of the queue, or returns NULL. {"event","data","timestamp"}; the
 * caller owns it. */
json_t *qmp_next_event(Qmp *qmp);

/* The event's name, "" if it has none. Borrowed. */
const char *qmp_event_name(const json_t *event);

/* Waits until an event with one of the names (NULL-terminated list) comes or is already in the
 * queue, and takes it out. Others stay in the queue. -ETIMEDOUT, -ECONNRESET, -EBADMSG. */
int qmp_wait_event(Qmp *qmp, const char *const *names, uint64_t deadline_usec, json_t **event,
                   Error *error);

/* How many were dropped, since nobody took them. */
uint64_t qmp_events_lost(const Qmp *qmp);

#endif
