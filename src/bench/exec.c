/* SPDX-License-Identifier: Apache-2.0 */

/* `exec true` in a running VM, through the API alone and as the whole command `ramet exec`; and
 * copies of 64 MiB both ways. */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "bench/bench.h"
#include "proto/agent.h"
#include "proto/api/http_client.h"
#include "proto/frame.h"

#define COPY_BYTES (64 * MIB)

static int read_until_exit(int fd, Error *error) {
    _cleanup_(frame_reader_free) FrameReader reader = {0};
    if (frame_reader_init(&reader) < 0)
        abort();
    for (;;) {
        Frame frame;
        while (frame_reader_next(&reader, &frame)) {
            if (frame.type == FRAME_EXIT)
                return 0;
            if (frame.type == FRAME_ERROR)
                return error_set(error, ERROR_FAILED, 0, "exec failed: %.*s", (int)frame.length,
                                 (const char *)frame.payload);
        }
        size_t room;
        uint8_t *space = frame_reader_space(&reader, &room);
        ssize_t n = read(fd, space, room);
        if (n <= 0)
            return error_set_errno(error, n < 0 ? errno : EPIPE, "the stream of exec ended");
        frame_reader_added(&reader, (size_t)n);
    }
}

static int exec_by_api(const Bench *bench, const char *id, uint64_t *usec, Error *error) {
    _cleanup_json_ json_t *body = json_pack("{s:[s]}", "argv", "true");
    _cleanup_free_ char *path = str_format("/v1/vms/%s/exec", id);
    _cleanup_close_ int fd = -1;
    uint64_t start = clock_monotonic_usec();
    int r = http_connect(bench->socket, &fd, error);
    if (r < 0)
        return r;
    HttpCall call = HTTP_CALL("POST", path);
    call.body = body;
    r = http_call_upgrade(fd, &call, error);
    if (r >= 0)
        r = read_until_exit(fd, error);
    *usec = clock_monotonic_usec() - start;
    return r;
}

static int bench_round_trips(Bench *bench, const char *id, Error *error) {
    static Samples api = {.name = "exec true, API", .unit = "us"};
    static Samples cli = {.name = "exec true, the whole command", .unit = "us"};
    const char *const arguments[] = {"exec", id, "true", NULL};
    for (size_t i = 0; i < MAX_OF(bench->runs, (size_t)20); i++) {
        uint64_t usec;
        int r = exec_by_api(bench, id, &usec, error);
        if (r < 0)
            return r;
        samples_add(&api, (double)usec);
        r = bench_cli(bench, arguments, &usec, error);
        if (r < 0)
            return r;
        samples_add(&cli, (double)usec);
    }
    report_add_bound(bench->report, &api, 15000);
    report_add_bound(bench->report, &cli, 15000);
    return 0;
}

static int sample_file(const char *path, Error *error) {
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    _cleanup_free_ uint8_t *data = malloc(MIB);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot make %s", path);
    for (uint64_t done = 0; data && done < COPY_BYTES; done += MIB) {
        random_bytes(data, MIB);
        int r = fd_write_full(fd, data, MIB);
        if (r < 0)
            return error_set_errno(error, -r, "cannot write %s", path);
    }
    return 0;
}

static int bench_copies(Bench *bench, const char *id, Error *error) {
    static Samples in = {.name = "cp of 64 MiB into the VM", .unit = "MB/s"};
    static Samples out = {.name = "cp of 64 MiB out of the VM", .unit = "MB/s"};
    _cleanup_free_ char *path = str_format("%s/tmp/bench-copy-%d", bench->home, (int)getpid());
    _cleanup_free_ char *back = str_format("%s.back", path);
    _cleanup_free_ char *inside = str_format("%s:/dev/shm/copy", id);
    const char *const copy_in[] = {"cp", path, inside, NULL};
    const char *const copy_out[] = {"cp", inside, back, NULL};
    int r = sample_file(path, error);
    for (size_t i = 0; r >= 0 && i < MIN_OF(bench->runs, (size_t)5); i++) {
        uint64_t usec;
        bench_say("copy %zu", i + 1);
        r = bench_cli(bench, copy_in, &usec, error);
        if (r < 0)
            break;
        samples_add(&in, (double)COPY_BYTES / (double)usec);
        r = bench_cli(bench, copy_out, &usec, error);
        samples_add(&out, (double)COPY_BYTES / (double)usec);
    }
    (void)unlink(path);
    (void)unlink(back);
    if (r < 0)
        return r;
    report_add(bench->report, &in);
    report_add(bench->report, &out);
    return 0;
}

int bench_exec(Bench *bench, Error *error) {
    _cleanup_json_ json_t *vm = NULL;
    const char *id;
    /* twice the copy in half of its memory: the old one goes when the new one is whole */
    json_t *spec = json_pack("{s:I}", "memory_bytes", (json_int_t)(512 * MIB));
    int r = bench_vm_start(bench, spec, &vm, NULL, error);
    if (r < 0)
        return r;
    r = json_get_string("the VM", vm, "id", &id, error);
    if (r >= 0)
        r = bench_round_trips(bench, id, error);
    if (r >= 0)
        r = bench_copies(bench, id, error);
    int removed = bench_vm_remove(bench, vm, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}
