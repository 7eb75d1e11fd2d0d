/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TESTS_KEEPER_VM_H
#define RAMET_TESTS_KEEPER_VM_H

/* For tests of the real ramet-keeper with a scripted QEMU: a keeper of its own in a folder of its
 * own, asked as the daemon asks it. */

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/path.h"
#include "base/process/spawn.h"
#include "base/str.h"
#include "check.h"
#include "proto/keeper.h"
#include "proto/plan.h"

#define FAR (clock_monotonic_usec() + 120 * USEC_PER_SEC)
#define CONSOLE_MAX_BYTES (64 * KIB)
#define VM_MEMORY_BYTES (64 * MIB)

static const char *keeper_path, *fake_path;

typedef struct Vm {
    char folder[64];
    int folder_fd;
    int blank_fd;
    pid_t keeper;
    Plan plan;
    json_t *ok;
    StrBuf stages;
} Vm;

static inline void vm_begin(Vm *vm, const char *mode) {
    *vm = (Vm){.folder = "/tmp/ramet-test-XXXXXX"};
    CHECK(mkdtemp(vm->folder));
    vm->folder_fd = open(vm->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    vm->blank_fd = memfd_create("blank", MFD_CLOEXEC);
    CHECK(vm->folder_fd >= 0 && vm->blank_fd >= 0);
    CHECK_INT(ftruncate(vm->blank_fd, (off_t)VM_MEMORY_BYTES), 0);
    int listen_fd = fd_unix_listen_at(vm->folder_fd, KEEPER_SOCKET_NAME, SOCK_SEQPACKET, 0600, 64);
    _cleanup_free_ char *log = str_format("%s/keeper.log", vm->folder);
    int log_fd = open(log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    CHECK(listen_fd >= 0 && log_fd >= 0);
    char *argv[] = {(char *)"ramet-keeper", (char *)"--listen-fd", (char *)"3", NULL};
    SpawnFd fds[] = {{listen_fd, 3}, {log_fd, 2}};
    SpawnOptions options = {
        .program = keeper_path, .argv = argv, .fds = fds, .n_fds = 2, .new_session = true};
    CHECK_INT(spawn_process(&options, &vm->keeper, NULL), 0);
    fd_close(listen_fd);
    fd_close(log_fd);

    Plan *plan = &vm->plan;
    plan_init(plan);
    strcpy(plan->vm_id, "test");
    plan->qemu = str_copy(fake_path);
    strcpy(plan->accel, "tcg");
    strcpy(plan->machine, "microvm");
    plan->memory_bytes = VM_MEMORY_BYTES;
    plan->cpus = 1;
    plan->kernel_fd = 0;
    plan->memory_fd = 0;
    plan->cmdline = str_copy(mode);
    plan->console_dir_fd = 1;
    plan->console_max_bytes = CONSOLE_MAX_BYTES;
    plan->ready_timeout_usec = 60 * USEC_PER_SEC;
    strcpy(plan->identity.hostname, "test");
}

/* What is left of one whose keeper is gone. */
static inline void vm_clear(Vm *vm) {
    CHECK_INT(path_remove_tree(vm->folder), 0);
    fd_close(vm->folder_fd);
    fd_close(vm->blank_fd);
    plan_free(&vm->plan);
    json_decref(vm->ok);
    strbuf_free(&vm->stages);
}

/* The keeper must have ended by itself, and with it QEMU. */
static inline void vm_end(Vm *vm) {
    int status = -1;
    CHECK_INT(waitpid(vm->keeper, &status, 0), vm->keeper);
    if (!WIFEXITED(status))
        fprintf(stderr, "keeper: wait status %d\n", status);
    CHECK(WIFEXITED(status));
    vm_clear(vm);
}

static inline void on_stage(void *data, const json_t *event) {
    Vm *vm = data;
    const char *name = json_string_value(json_object_get(event, "name"));
    if (name)
        strbuf_add_format(&vm->stages, "%s;", name);
}

static inline int vm_start(Vm *vm, Error *error) {
    int fds[] = {vm->blank_fd, vm->folder_fd};
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:o}", "op", "start", "plan", plan_to_json(&vm->plan));
    return keeper_call(vm->folder_fd, request, fds, 2, FAR, -1, on_stage, vm, &vm->ok, error);
}

static inline void vm_run(Vm *vm, const char *mode) {
    vm_begin(vm, mode);
    _cleanup_error_ Error error = ERROR_INIT;
    if (vm_start(vm, &error) < 0)
        fprintf(stderr, "%s: %s\n", mode, error.message);
    CHECK(vm->ok);
}

static inline int vm_ask(Vm *vm, const char *op, json_t **ok, Error *error) {
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:I}", "op", op, "timeout_us", (json_int_t)(600 * USEC_PER_SEC));
    return keeper_call(vm->folder_fd, request, NULL, 0, FAR, -1, NULL, NULL, ok, error);
}

static inline void vm_kill(Vm *vm) {
    _cleanup_json_ json_t *ok = NULL;
    CHECK_INT(vm_ask(vm, "kill", &ok, NULL), 0);
    vm_end(vm);
}

static inline json_t *vm_exit(Vm *vm) {
    char *text;
    size_t size;
    json_t *json = NULL;
    CHECK_INT(fd_read_file_at(vm->folder_fd, "exit.json", 65536, &text, &size), 0);
    CHECK_INT(json_parse("exit", text, size, &json, NULL), 0);
    free(text);
    return json;
}

static inline void check_cause(Vm *vm, const char *cause) {
    _cleanup_json_ json_t *record = vm_exit(vm);
    CHECK_STR(json_string_value(json_object_get(record, "cause")), cause);
}

static inline uint64_t number(const json_t *object, const char *key) {
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

#endif
