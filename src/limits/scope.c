/* SPDX-License-Identifier: Apache-2.0 */

/* org.freedesktop.systemd1(5). A scope is started as a job; JobRemoved tells its end, and may come
 * before the call's own reply has been read, so the match stands before the call. */

#include "limits/scope.h"

#include <errno.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "limits/cgroup_find.h"

#define MANAGER "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define MANAGER_INTERFACE "org.freedesktop.systemd1.Manager"
#define JOB_USEC (60 * USEC_PER_SEC)

/* The job that is waited for, and how it ended. */
typedef struct Job {
    char *path;   /* owned; NULL: not known yet */
    char *ended;  /* owned: the last job that ended, */
    char *result; /* owned: and how */
} Job;

static void job_free(Job *job) {
    free(job->path);
    free(job->ended);
    free(job->result);
}

static int refuse(int r, const sd_bus_error *answer, Error *error) {
    error_set(error, ERROR_UNSUPPORTED, -r, "systemd makes no scope for the VM: %s",
              answer && answer->message ? answer->message : strerror(-r));
    error_set_hint(error, geteuid() == 0
                              ? "look at systemctl status and journalctl, or leave the limits out"
                              : "a session of this user has to be there (loginctl enable-linger), "
                                "or leave the limits out");
    return -ENOTSUP;
}

static int open_bus(sd_bus **bus, Error *error) {
    int r = geteuid() == 0 ? sd_bus_open_system(bus) : sd_bus_open_user(bus);
    return r < 0 ? refuse(r, NULL, error) : 0;
}

/* ---- what it may use ---- */

static int add_number(sd_bus_message *message, const char *name, uint64_t value) {
    return sd_bus_message_append(message, "(sv)", name, "t", value ? value : UINT64_MAX);
}

static int add_limits(sd_bus_message *message, const VmLimits *limits) {
    uint64_t quota = limits->cpu_thousandths * (USEC_PER_SEC / 1000);
    int r = add_number(message, "CPUQuotaPerSecUSec", quota);
    if (r >= 0)
        r = add_number(message, "MemoryMax", limits->memory_bytes);
    return r < 0 ? r : add_number(message, "TasksMax", limits->pids);
}

static int add_pids(sd_bus_message *message, const pid_t *pids, size_t n_pids) {
    int r = sd_bus_message_open_container(message, 'r', "sv");
    if (r >= 0)
        r = sd_bus_message_append(message, "s", "PIDs");
    if (r >= 0)
        r = sd_bus_message_open_container(message, 'v', "au");
    if (r >= 0)
        r = sd_bus_message_open_container(message, 'a', "u");
    for (size_t i = 0; r >= 0 && i < n_pids; i++)
        r = sd_bus_message_append(message, "u", (uint32_t)pids[i]);
    for (int i = 0; r >= 0 && i < 3; i++)
        r = sd_bus_message_close_container(message);
    return r;
}

static int make_call(sd_bus *bus, const char *name, const VmLimits *limits, const pid_t *pids,
                     size_t n_pids, sd_bus_message **call) {
    int r = sd_bus_message_new_method_call(bus, call, MANAGER, MANAGER_PATH, MANAGER_INTERFACE,
                                           "StartTransientUnit");
    if (r >= 0)
        r = sd_bus_message_append(*call, "ss", name, "fail");
    if (r >= 0)
        r = sd_bus_message_open_container(*call, 'a', "(sv)");
    if (r >= 0)
        r = sd_bus_message_append(*call, "(sv)(sv)", "Description", "s",
                                  "a virtual machine of Ramet", "CollectMode", "s",
                                  "inactive-or-failed");
    if (r >= 0)
        r = add_limits(*call, limits);
    if (r >= 0)
        r = add_pids(*call, pids, n_pids);
    if (r >= 0)
        r = sd_bus_message_close_container(*call);
    return r < 0 ? r : sd_bus_message_append(*call, "a(sa(sv))", 0);
}

/* ---- starting one ---- */

static int on_job_removed(sd_bus_message *message, void *data, sd_bus_error *answer) {
    Job *job = data;
    const char *path, *unit, *result;
    uint32_t id;
    (void)answer;
    if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) < 0)
        return 0;
    if (job->path && !str_equal(job->path, path))
        return 0;
    str_replace(&job->ended, path);
    str_replace(&job->result, result);
    return 0;
}

static bool is_over(const Job *job) {
    return job->path && job->ended && str_equal(job->path, job->ended);
}

static int await_job(sd_bus *bus, Job *job, Error *error) {
    uint64_t end_usec = clock_monotonic_usec() + JOB_USEC;
    while (!is_over(job)) {
        uint64_t now = clock_monotonic_usec();
        int r = sd_bus_process(bus, NULL);
        if (r == 0 && now < end_usec)
            r = sd_bus_wait(bus, end_usec - now);
        else if (r == 0)
            r = -ETIMEDOUT;
        if (r < 0 && r != -EINTR)
            return refuse(r, NULL, error);
    }
    if (str_equal(job->result, "done"))
        return 0;
    return error_set(error, ERROR_FAILED, EIO, "systemd makes no scope for the VM: its job is %s",
                     job->result);
}

static int start(sd_bus *bus, sd_bus_message *call, bool *there, Error *error) {
    _cleanup_(job_free) Job job = {0};
    sd_bus_error answer = SD_BUS_ERROR_NULL;
    sd_bus_message *reply = NULL;
    const char *path = NULL;
    int r = sd_bus_match_signal(bus, NULL, MANAGER, MANAGER_PATH, MANAGER_INTERFACE, "JobRemoved",
                                on_job_removed, &job);
    if (r >= 0)
        r = sd_bus_call_method(bus, MANAGER, MANAGER_PATH, MANAGER_INTERFACE, "Subscribe", &answer,
                               NULL, "");
    if (r >= 0)
        r = sd_bus_call(bus, call, JOB_USEC, &answer, &reply);
    if (r >= 0)
        r = sd_bus_message_read(reply, "o", &path);
    if (r >= 0)
        job.path = str_copy(path);
    *there = sd_bus_error_has_name(&answer, "org.freedesktop.systemd1.UnitExists");
    if (r < 0 && !*there)
        (void)refuse(r, &answer, error);
    sd_bus_message_unref(reply);
    sd_bus_error_free(&answer);
    return *there ? 0 : r < 0 ? r : await_job(bus, &job, error);
}

/* ---- changing one ---- */

static int change(sd_bus *bus, const char *name, const VmLimits *limits, Error *error) {
    sd_bus_error answer = SD_BUS_ERROR_NULL;
    sd_bus_message *call = NULL;
    int r = sd_bus_message_new_method_call(bus, &call, MANAGER, MANAGER_PATH, MANAGER_INTERFACE,
                                           "SetUnitProperties");
    if (r >= 0)
        r = sd_bus_message_append(call, "sb", name, 1);
    if (r >= 0)
        r = sd_bus_message_open_container(call, 'a', "(sv)");
    if (r >= 0)
        r = add_limits(call, limits);
    if (r >= 0)
        r = sd_bus_message_close_container(call);
    if (r >= 0)
        r = sd_bus_call(bus, call, JOB_USEC, &answer, NULL);
    if (r < 0)
        (void)refuse(r, &answer, error);
    sd_bus_message_unref(call);
    sd_bus_error_free(&answer);
    return MIN_OF(r, 0);
}

int scope_limit(const char *name, const VmLimits *limits, const pid_t *pids, size_t n_pids,
                Error *error) {
    sd_bus_message *call = NULL;
    sd_bus *bus = NULL;
    bool there = false;
    int r = open_bus(&bus, error);
    if (r < 0)
        return r;
    r = make_call(bus, name, limits, pids, n_pids, &call);
    if (r < 0)
        (void)refuse(r, NULL, error);
    else
        r = start(bus, call, &there, error);
    if (r >= 0 && there)
        r = change(bus, name, limits, error);
    sd_bus_message_unref(call);
    sd_bus_flush_close_unref(bus);
    return r;
}

/* The user's manager is a service whose folder is everything's above its scopes. */
int scope_parent(char **path, Error *error) {
    _cleanup_free_ char *mount = NULL;
    int r = cgroup_of_host(&mount, error);
    if (r < 0)
        return r;
    *path = geteuid() == 0 ? TAKE_PTR(mount)
                           : str_format("%s/user.slice/user-%u.slice/user@%u.service", mount,
                                        (unsigned)geteuid(), (unsigned)geteuid());
    return 0;
}
