/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "base/str.h"
#include "bench/bench.h"
#include "proto/api/http_client.h"

#define TOOL_BOUND_USEC (600 * USEC_PER_SEC)

static int call_daemon(const Bench *bench, const char *method, const char *path, const json_t *body,
                       int cancel_fd, json_t **answer, Error *error) {
    _cleanup_close_ int fd = -1;
    int r = http_connect(bench->socket, &fd, error);
    if (r < 0)
        return r;
    HttpCall call = HTTP_CALL(method, path);
    call.body = body;
    call.cancel_fd = cancel_fd;
    return http_call_json(fd, &call, answer, error);
}

int bench_call(const Bench *bench, const char *method, const char *path, const json_t *body,
               json_t **answer, Error *error) {
    return call_daemon(bench, method, path, body, bench->cancel_fd, answer, error);
}

int bench_undo(const Bench *bench, const char *method, const char *path, const json_t *body,
               Error *error) {
    return call_daemon(bench, method, path, body, -1, NULL, error);
}

bool bench_cancelled(const Bench *bench) {
    struct pollfd wanted = {.fd = bench->cancel_fd, .events = POLLIN};
    return poll(&wanted, 1, 0) > 0;
}

/* Does the VM run by the accelerator that was asked for? The daemon has one for all. */
static int check_accel(const Bench *bench, const json_t *vm, Error *error) {
    const char *accel = json_string_value(json_object_get(vm, "accel"));
    if (!bench->accel || str_equal(accel, bench->accel))
        return 0;
    error_set(error, ERROR_CONFLICT, EBUSY, "the daemon that runs uses %s, not %s",
              accel ? accel : "nothing", bench->accel);
    error_set_hint(error, "ramet daemon stop; the bench then starts one that does");
    return -EBUSY;
}

int bench_vm_start(const Bench *bench, json_t *options, json_t **vm, uint64_t *usec, Error *error) {
    _cleanup_json_ json_t *body = options;
    json_object_set_new(body, "image", json_string(bench->image));
    json_object_set_new(body, "start", json_true());
    uint64_t start = clock_monotonic_usec();
    int r = bench_call(bench, "POST", "/v1/vms", body, vm, error);
    if (r >= 0 && usec)
        *usec = clock_monotonic_usec() - start;
    if (r < 0)
        return r;
    r = check_accel(bench, *vm, error);
    if (r < 0) {
        (void)bench_vm_remove(bench, *vm, NULL);
        json_decref(*vm);
        *vm = NULL;
    }
    return r;
}

int bench_vms_create(const Bench *bench, const char *image, size_t count, json_t *vms,
                     Error *error) {
    for (size_t i = 0; i < count; i++) {
        _cleanup_json_ json_t *body = json_pack("{s:s,s:b}", "image", image, "start", 0);
        json_t *vm = NULL;
        int r = bench_call(bench, "POST", "/v1/vms", body, &vm, error);
        if (r < 0)
            return r;
        json_array_append_new(vms, vm);
    }
    return 0;
}

int bench_vm_remove(const Bench *bench, const json_t *vm, Error *error) {
    const char *id;
    int r = json_get_string("the VM", vm, "id", &id, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = str_format("/v1/vms/%s?force=1", id);
    return bench_undo(bench, "DELETE", path, NULL, error);
}

int bench_cli(const Bench *bench, const char *const *arguments, uint64_t *usec, Error *error) {
    _cleanup_free_ char *ramet = path_find_sibling("ramet");
    _cleanup_(strlist_free) StrList argv = {0};
    strlist_add(&argv, ramet ? ramet : "ramet");
    for (; *arguments; arguments++)
        strlist_add(&argv, *arguments);
    const SpawnOptions options = {.program = argv.items[0], .argv = argv.items};
    uint64_t start = clock_monotonic_usec();
    int r = spawn_run(&options, TOOL_BOUND_USEC, bench->cancel_fd, NULL, error);
    if (usec)
        *usec = clock_monotonic_usec() - start;
    return r;
}

bool bench_wants(const Bench *bench, const char *part) {
    size_t length = strlen(part);
    for (const char *at = bench->parts; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, part, length) == 0 && (at[length] == '\0' || at[length] == ','))
            return true;
    return bench->parts == NULL;
}

void bench_say(const char *format, ...) {
    va_list args;
    if (!isatty(STDERR_FILENO))
        return;
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
}
