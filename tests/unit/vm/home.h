/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TESTS_VM_HOME_H
#define RAMET_TESTS_VM_HOME_H

/* A home for tests: with an image, the scripted keeper and a QEMU that is never started. */

#include "vm/ramet.h"
#include "vm/vm.h"

typedef struct Home {
    char path[64];
    Ramet *ramet;
} Home;

/* Makes the home and opens it. */
void home_make(Home *home);

/* Opens and closes it, as a daemon that ends and comes again. Opening does not reconcile. */
void home_open(Home *home);
void home_close(Home *home);

/* Removes all of it. Kills nothing: tests remove their VMs. */
void home_remove(Home *home);

/* A specification with this name, and an operation that nobody cancels. */
int home_run(Home *home, const char *name, bool remove, json_t **vm, Error *error);
int home_create(Home *home, const char *name, json_t **vm, Error *error);

/* Writes a file into a VM's folder. */
void home_write(Home *home, const char *vm, const char *name, const char *text);
size_t home_file_size(Home *home, const char *vm, const char *name);

/* Waits until the VM is in that state; it must come. */
void home_await(Home *home, const char *vm, const char *state);
/* Waits until this event has come so many times. */
void home_await_event(Home *home, const char *vm, const char *type, size_t count);
void home_await_gone(Home *home, const char *vm);

/* The state, owned by the caller; NULL when there is no such VM. */
char *home_state(Home *home, const char *vm);

const char *vm_text(const json_t *vm, const char *key);
pid_t vm_pid(const json_t *vm, const char *key);

#endif
