/* SPDX-License-Identifier: Apache-2.0 */

/* How small the programs are: the daemon with a hundred VMs known, the keeper of a running one
 * (resident, of /proc), and the agent's file. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "bench/bench.h"

#define KNOWN_VMS 100

static int resident_bytes(int64_t pid, uint64_t *bytes, Error *error) {
    _cleanup_free_ char *path = str_format("/proc/%lld/status", (long long)pid);
    _cleanup_free_ char *text = NULL;
    int r = fd_read_file_at(AT_FDCWD, path, 64 * KIB, &text, NULL);
    if (r < 0)
        return error_set_errno(error, -r, "cannot read %s", path);
    const char *line = strstr(text, "VmRSS:");
    if (!line)
        return error_set(error, ERROR_FAILED, ESRCH, "process %lld is gone", (long long)pid);
    *bytes = strtoull(line + strlen("VmRSS:"), NULL, 10) * KIB;
    return 0;
}

static int process_sample(const json_t *object, const char *key, Samples *samples, Error *error) {
    uint64_t bytes = 0;
    int r = resident_bytes(json_integer_value(json_object_get(object, key)), &bytes, error);
    if (r >= 0)
        samples_add(samples, (double)bytes);
    return r;
}

static int measure_daemon(const Bench *bench, Samples *samples, Error *error) {
    _cleanup_json_ json_t *version = NULL, *list = NULL;
    int r = bench_call(bench, "GET", "/v1/vms?all=1", NULL, &list, error);
    if (r >= 0)
        r = bench_call(bench, "GET", "/v1/version", NULL, &version, error);
    return r < 0 ? r : process_sample(version, "pid", samples, error);
}

static int daemon_size(const Bench *bench, Samples *samples, Error *error) {
    _cleanup_json_ json_t *vms = json_array();
    size_t i;
    json_t *vm;
    int r = bench_vms_create(bench, bench->image, KNOWN_VMS, vms, error);
    if (r >= 0)
        r = measure_daemon(bench, samples, error);
    json_array_foreach(vms, i, vm) {
        int removed = bench_vm_remove(bench, vm, r < 0 ? NULL : error);
        if (r >= 0)
            r = removed;
    }
    return r;
}

static int keeper_size(const Bench *bench, Samples *samples, Error *error) {
    _cleanup_json_ json_t *vm = NULL;
    int r = bench_vm_start(bench, json_object(), &vm, NULL, error);
    if (r < 0)
        return r;
    r = process_sample(vm, "keeper_pid", samples, error);
    int removed = bench_vm_remove(bench, vm, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

static int agent_size(Samples *samples, Error *error) {
    _cleanup_free_ char *path = path_find_sibling("ramet-agent");
    struct stat status;
    if (!path || stat(path, &status) < 0)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "cannot find ramet-agent");
    samples_add(samples, (double)status.st_size);
    return 0;
}

int bench_size(Bench *bench, Error *error) {
    static Samples agent = {.name = "the agent's file", .unit = "bytes"};
    static Samples keeper = {.name = "keeper of a running VM, resident", .unit = "bytes"};
    static Samples daemon = {.name = "daemon with 100 VMs known, resident", .unit = "bytes"};
    int r = agent_size(&agent, error);
    if (r >= 0)
        r = keeper_size(bench, &keeper, error);
    if (r >= 0)
        r = daemon_size(bench, &daemon, error);
    if (r < 0)
        return r;
    report_add_bound(bench->report, &agent, 150.0 * 1000);
    report_add_bound(bench->report, &keeper, 3.0 * 1000 * 1000);
    report_add_bound(bench->report, &daemon, 20.0 * 1000 * 1000);
    return 0;
}
