/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_HOT_STORE_H
#define RAMET_FROZEN_HOT_STORE_H

/* The service manager's descriptor store (FDSTORE in sd_notify(3)): what is in it comes back to the
 * next daemon as LISTEN_FDS. Without a manager, or where the unit has no FileDescriptorStoreMax=,
 * both do nothing. They may wait for the manager: not for callers with a mutex. */

/* A base's name there, and its memfd's, with the snapshot's id behind. */
#define HOT_STORE_PREFIX "ramet-mem-"

/* Puts the hot base of the snapshot `id` there; fd is borrowed. */
void hot_store_put(const char *id, int fd);

/* Removes it, whether it is there or not. */
void hot_store_remove(const char *id);

#endif
