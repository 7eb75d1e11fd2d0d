/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_WATCHER_H
#define RAMET_RUN_WATCHER_H

/* One thread that waits for keepers. */

#include "base/error.h"
#include "home/home.h"
#include "store/vms.h"

typedef struct Watcher Watcher;

/* Calls changed whenever a keeper spoke or ended, until the home closes. */
int watcher_start(Home *home, void (*changed)(Home *home, const char *id), Error *error);

/* Reaps this child whenever it ends. */
int watcher_add_child(Watcher *watcher, pid_t pid, Error *error);

/* Watches the keeper of the VM; vm_refresh is called when it speaks or ends. -ECONNREFUSED or
 * -ENOENT when there is none. Watching the same keeper twice is success. */
int watcher_add_vm(Watcher *watcher, const char *id, pid_t keeper, int vm_dir_fd, Error *error);

/* As if its keeper had spoken: the VM is looked at. */
void watcher_changed(Home *home, const char *id);

/* Lets the watcher look after a VM that is ready; if it ended already, that is found. */
void vm_watch(Home *home, const VmRow *row);

#endif
