/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TESTS_VM_HOME_H
#define RAMET_TESTS_VM_HOME_H

/* A home for tests: with an image, the scripted keeper and a QEMU that is never started. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"

typedef struct TestHome {
    char path[64];
    Home *opened;
} TestHome;

/* Makes the home and opens it. */
void test_home_make(TestHome *home);

/* Opens and closes it, as a daemon that ends and comes again. Opening does not reconcile. */
void test_home_open(TestHome *home);
void test_home_close(TestHome *home);

/* Removes all of it. Kills nothing: tests remove their VMs. */
void test_home_remove(TestHome *home);

/* A specification with this name, and an operation that nobody cancels. */
int test_home_run(TestHome *home, const char *name, bool remove, json_t **vm, Error *error);
int test_home_create(TestHome *home, const char *name, json_t **vm, Error *error);

/* Writes a file into a VM's folder. */
void test_home_write(TestHome *home, const char *vm, const char *name, const char *text);
size_t test_home_file_size(TestHome *home, const char *vm, const char *name);

size_t test_home_count_vm_folders(TestHome *home);

/* Waits until the VM is in that state; it must come. */
void test_home_await(TestHome *home, const char *vm, const char *state);
/* Waits until this event has come so many times. */
void test_home_await_event(TestHome *home, const char *vm, const char *type, size_t count);
void test_home_await_gone(TestHome *home, const char *vm);

/* The state, owned by the caller; NULL when there is no such VM. */
char *test_home_state(TestHome *home, const char *vm);

const char *vm_text(const json_t *vm, const char *key);
pid_t vm_pid(const json_t *vm, const char *key);

#endif
