/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_HOME_H
#define RAMET_HOME_HOME_H

/* One home: its folders, its store, and what watches its VMs. The daemon opens one. All functions
 * may be called by any thread. */

#include "base/error.h"
#include "base/json.h"
#include "store/store.h"

typedef struct Home Home;

typedef struct HomeOptions {
    const char *path;   /* absolute; made if absent */
    const char *qemu;   /* NULL: $RAMET_QEMU, else the distribution's */
    const char *accel;  /* NULL: $RAMET_ACCEL, else "auto" */
    const char *keeper; /* NULL: the sibling program */
    const char *agent;  /* NULL: the sibling program */
} HomeOptions;

/* Takes locks/daemon.lock (ERROR_CONFLICT when another daemon has this home), makes the folders,
 * opens the store and starts the watcher's thread. Does not look at VMs: home_reconcile does. */
int home_open(const HomeOptions *options, Home **home, Error *error);

/* VMs live on. Operations of other threads must have ended. */
Home *home_close(Home *home);

/* Both are borrowed, for as long as the Ramet lives. */
const char *home_path(const Home *home);
Store *home_store(Home *home);

/* Events: home_event stores one and wakes the subscribers. A failure to store it is logged only.
 * vm, name and detail may be NULL. */
void home_event(Home *home, const char *type, const char *vm, const char *name,
                const json_t *detail);

/* Those after `since`, oldest first, at most max. */
int home_events(Home *home, uint64_t since, size_t max, json_t **array, Error *error);

/* An eventfd that becomes readable at every event from now on, to poll beside the client's socket.
 * Read it (fd_read_full of 8 bytes, or eventfd_read), then ask home_events for what is new. Give
 * it back with home_unsubscribe, which closes it. Returns the descriptor or a negative errno. */
int home_subscribe(Home *home);
void home_unsubscribe(Home *home, int fd);

#endif
