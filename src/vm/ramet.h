/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VM_RAMET_H
#define RAMET_VM_RAMET_H

/* One home: its folders, its store, and what watches its VMs. The daemon opens one. All functions
 * may be called by any thread. */

#include "base/json.h"
#include "store/store.h"

typedef struct Ramet Ramet;

typedef struct RametOptions {
    const char *home;   /* absolute; made if absent */
    const char *qemu;   /* NULL: $RAMET_QEMU, else the distribution's */
    const char *accel;  /* NULL: $RAMET_ACCEL, else "auto" */
    const char *keeper; /* NULL: the sibling program */
    const char *agent;  /* NULL: the sibling program */
} RametOptions;

/* Takes locks/daemon.lock (ERROR_CONFLICT when another daemon has this home), makes the folders,
 * opens the store and starts the watcher's thread. Does not look at VMs: ramet_reconcile does. */
int ramet_open(const RametOptions *options, Ramet **ramet, Error *error);

/* VMs live on. Operations of other threads must have ended. */
Ramet *ramet_close(Ramet *ramet);

/* Once, after open and before the first request: makes the store and the world agree again. See
 * vm/reconcile.c. Failures are logged and do not stop it; their number comes back. */
size_t ramet_reconcile(Ramet *ramet);

/* Both are borrowed, for as long as the Ramet lives. */
const char *ramet_home(const Ramet *ramet);
Store *ramet_store(Ramet *ramet);

/* Events: ramet_event stores one and wakes the subscribers. A failure to store it is logged only.
 * vm, name and detail may be NULL. */
void ramet_event(Ramet *ramet, const char *type, const char *vm, const char *name,
                 const json_t *detail);

/* Those after `since`, oldest first, at most max. */
int ramet_events(Ramet *ramet, uint64_t since, size_t max, json_t **array, Error *error);

/* An eventfd that becomes readable at every event from now on, to poll beside the client's socket.
 * Read it (fd_read_full of 8 bytes, or eventfd_read), then ask ramet_events for what is new. Give
 * it back with ramet_unsubscribe, which closes it. Returns the descriptor or a negative errno. */
int ramet_subscribe(Ramet *ramet);
void ramet_unsubscribe(Ramet *ramet, int fd);

/* The QEMU binary and the accelerator that VMs get, probed at first use:
 * {"qemu","qemu_version","accel","reason"}. */
int ramet_host(Ramet *ramet, json_t **host, Error *error);

/* Examines the host and this home (vm/doctor.h): {"checks":[…]}. Takes some hundred milliseconds.
 */
int ramet_doctor(Ramet *ramet, json_t **json, Error *error);

#endif
