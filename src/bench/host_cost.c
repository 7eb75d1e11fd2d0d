/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/host_cost.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/str.h"

/* Threads that have ended count, too. */
static int process_nsec(pid_t pid, uint64_t *nsec) {
    struct timespec used;
    clockid_t clock;
    int r = clock_getcpuclockid(pid, &clock);
    if (r != 0)
        return -r;
    if (clock_gettime(clock, &used) < 0)
        return -errno;
    *nsec = (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
    return 0;
}

static uint64_t thread_nsec(pid_t pid, const char *thread) {
    _cleanup_free_ char *path = str_format("/proc/%d/task/%.16s/schedstat", (int)pid, thread);
    _cleanup_free_ char *text = NULL;
    if (fd_read_file_at(AT_FDCWD, path, 4 * KIB, &text, NULL) < 0)
        return 0;
    return strtoull(text, NULL, 10);
}

/* Of the thread that runs the virtual CPU. */
static uint64_t cpu_nsec(pid_t pid) {
    _cleanup_free_ char *path = str_format("/proc/%d/task", (int)pid);
    DIR *folder = opendir(path);
    const struct dirent *entry;
    uint64_t most = 0;
    while (folder && (entry = readdir(folder)))
        if (*entry->d_name != '.' && strtol(entry->d_name, NULL, 10) != pid)
            most = MAX_OF(most, thread_nsec(pid, entry->d_name));
    if (folder)
        (void)closedir(folder);
    return most;
}

static HostRole role_of(pid_t pid) {
    _cleanup_free_ char *path = str_format("/proc/%d/comm", (int)pid);
    _cleanup_free_ char *name = NULL;
    if (fd_read_file_at(AT_FDCWD, path, 4 * KIB, &name, NULL) < 0)
        return HOST_QEMU;
    if (str_has_prefix(name, "rametd"))
        return HOST_DAEMON;
    if (str_has_prefix(name, "ramet-zygote"))
        return HOST_ZYGOTE;
    return str_has_prefix(name, "ramet-keeper") ? HOST_KEEPER : HOST_QEMU;
}

/* One that is gone meanwhile is left out. */
static void add_process(HostCost *cost, pid_t pid) {
    HostProcess process = {.pid = pid, .role = role_of(pid)};
    if (process_nsec(pid, &process.nsec) < 0)
        return;
    if (process.role == HOST_QEMU)
        process.nsec -= MIN_OF(cpu_nsec(pid), process.nsec);
    cost->processes = reallocarray(cost->processes, cost->count + 1, sizeof(HostProcess));
    if (!cost->processes)
        abort();
    cost->processes[cost->count++] = process;
}

static int thread_children(pid_t pid, const char *thread, HostCost *cost) {
    _cleanup_free_ char *path = str_format("/proc/%d/task/%.16s/children", (int)pid, thread);
    _cleanup_free_ char *text = NULL;
    char *end;
    int r = fd_read_file_at(AT_FDCWD, path, 64 * KIB, &text, NULL);
    for (char *at = text; r >= 0; at = end) {
        pid_t child = (pid_t)strtol(at, &end, 10);
        if (end == at)
            break;
        add_process(cost, child);
    }
    return r;
}

static int add_children(HostCost *cost, pid_t pid) {
    _cleanup_free_ char *path = str_format("/proc/%d/task", (int)pid);
    DIR *folder = opendir(path);
    const struct dirent *entry;
    int r = 0;
    while (folder && r >= 0 && (entry = readdir(folder)))
        if (*entry->d_name != '.')
            r = thread_children(pid, entry->d_name, cost);
    if (folder)
        (void)closedir(folder);
    return r == -ENOENT && folder ? 0 : r;
}

int host_cost_read(pid_t daemon, HostCost *cost, Error *error) {
    HostCost found = {0};
    add_process(&found, daemon);
    int r = found.count == 1 ? 0 : -ESRCH;
    for (size_t i = 0; r >= 0 && i < found.count; i++)
        r = add_children(&found, found.processes[i].pid);
    if (r < 0) {
        host_cost_free(&found);
        return error_set_errno(error, -r,
                               "cannot read the processor time of the daemon's children");
    }
    found.processes[0].role = HOST_DAEMON;
    *cost = found;
    return 0;
}

void host_cost_free(HostCost *cost) {
    free(cost->processes);
    *cost = (HostCost){0};
}

static uint64_t nsec_of(const HostCost *cost, pid_t pid) {
    for (size_t i = 0; i < cost->count; i++)
        if (cost->processes[i].pid == pid)
            return cost->processes[i].nsec;
    return 0;
}

double host_cost_since(const HostCost *before, const HostCost *after, HostRole role, pid_t keeper,
                       pid_t qemu) {
    double nsec = 0;
    for (size_t i = 0; i < after->count; i++) {
        const HostProcess *process = &after->processes[i];
        bool counts = role < HOST_KEEPER || process->pid == keeper || process->pid == qemu;
        if (process->role == role && counts)
            nsec += (double)process->nsec - (double)nsec_of(before, process->pid);
    }
    return nsec / 1000;
}
