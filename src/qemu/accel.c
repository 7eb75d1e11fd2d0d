/* SPDX-License-Identifier: Apache-2.0 */

/* The decision around the probe (kvm.c): run it in a helper that can be killed, word its result,
 * remember it, choose. The helper says one line, "OUTCOME ERRNO STEP TURNS GUEST_USEC"; when it has
 * said nothing at the bound, that is the result, and a helper that even SIGKILL does not end at
 * once (it hangs in the kernel) is left behind: the decision does not wait for it. */

#include "qemu/accel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/process/spawn.h"
#include "base/str.h"

#define CACHE_NAME "accel.json"
#define LINE_MAX_BYTES 160
#define REAP_BOUND_USEC ((uint64_t)20000)

static const char *const outcome_names[ACCEL_OUTCOME_COUNT] = {
    [ACCEL_OUTCOME_WORKS] = "works",
    [ACCEL_OUTCOME_NO_DEVICE] = "no_device",
    [ACCEL_OUTCOME_NO_PERMISSION] = "no_permission",
    [ACCEL_OUTCOME_BROKEN] = "broken",
    [ACCEL_OUTCOME_INTERPRETED] = "interpreted",
    [ACCEL_OUTCOME_HUNG] = "hung",
};

static int outcome_from_name(const char *name, AccelOutcome *outcome) {
    for (size_t i = 0; i < ACCEL_OUTCOME_COUNT; i++)
        if (str_equal(name, outcome_names[i])) {
            *outcome = (AccelOutcome)i;
            return 0;
        }
    return -EINVAL;
}

/* The helper's side */

int accel_probe_main(const char *device) {
    AccelProbe probe;
    _cleanup_free_ char *line = NULL;
    accel_probe_run(device, &probe);
    line = str_format("%s %d %s %llu %llu\n", outcome_names[probe.outcome], probe.errnum,
                      probe.step[0] ? probe.step : "-", (unsigned long long)probe.turns,
                      (unsigned long long)probe.guest_usec);
    return fd_write_full(STDOUT_FILENO, line, strlen(line)) < 0 ? 1 : 0;
}

/* Our side */

static void broken(AccelProbe *probe, int errnum, const char *step) {
    *probe = (AccelProbe){.outcome = ACCEL_OUTCOME_BROKEN, .errnum = errnum};
    (void)snprintf(probe->step, sizeof(probe->step), "%s", step);
}

static int parse_line(const char *line, AccelProbe *probe) {
    char name[32], step[32];
    unsigned long long turns, usec;
    AccelProbe found = {0};
    int errnum;
    if (sscanf(line, "%31s %d %31s %llu %llu", name, &errnum, step, &turns, &usec) != 5)
        return -EBADMSG;
    if (outcome_from_name(name, &found.outcome) < 0 || found.outcome == ACCEL_OUTCOME_HUNG ||
        errnum < 0)
        return -EBADMSG;
    found.errnum = errnum;
    found.turns = turns;
    found.guest_usec = usec;
    if (!str_equal(step, "-"))
        memcpy(found.step, step, sizeof(step));
    *probe = found;
    return 0;
}

/* Reads until a newline, the end of the stream, or the deadline (-ETIMEDOUT). */
static int read_line(int fd, uint64_t deadline_usec, char line[LINE_MAX_BYTES]) {
    size_t size = 0;
    for (;;) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        int r = poll(&poll_fd, 1, clock_poll_timeout(deadline_usec));
        ssize_t n;
        if (r == 0)
            return -ETIMEDOUT;
        n = r < 0 ? -1 : read(fd, line + size, LINE_MAX_BYTES - 1 - size);
        if (n < 0 && errno != EINTR)
            return -errno;
        size += n > 0 ? (size_t)n : 0;
        line[size] = '\0';
        if (strchr(line, '\n'))
            return 0;
        if (n == 0 || size == LINE_MAX_BYTES - 1)
            return -EBADMSG;
    }
}

static void end_helper(pid_t pid) {
    _cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
    (void)kill(pid, SIGKILL);
    if (pidfd >= 0)
        (void)poll(&poll_fd, 1, (int)(REAP_BOUND_USEC / USEC_PER_MSEC));
    (void)waitpid(pid, NULL, WNOHANG);
}

static int start_helper(char *const *argv, int out_fd, pid_t *pid) {
    SpawnFd fds[] = {{out_fd, STDOUT_FILENO}};
    SpawnOptions options = {.program = argv[0], .argv = argv, .fds = fds, .n_fds = ARRAY_SIZE(fds)};
    return spawn_process(&options, pid, NULL);
}

static void ask_helper(char *const *argv, uint64_t deadline_usec, AccelProbe *probe) {
    _cleanup_close_ int ours = -1, theirs = -1;
    char line[LINE_MAX_BYTES];
    int pipe_fds[2], r;
    pid_t pid;
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        broken(probe, errno, "pipe");
        return;
    }
    ours = pipe_fds[0];
    theirs = pipe_fds[1];
    r = start_helper(argv, theirs, &pid);
    if (r < 0) {
        broken(probe, -r, "start the helper");
        return;
    }
    theirs = fd_close(theirs);
    r = read_line(ours, deadline_usec, line);
    end_helper(pid);
    if (r == -ETIMEDOUT)
        *probe = (AccelProbe){.outcome = ACCEL_OUTCOME_HUNG};
    else if (r < 0 || parse_line(line, probe) < 0)
        broken(probe, EPROTO, "hear from the helper");
}

void accel_probe(char *const *helper_argv, uint64_t bound_usec, AccelProbe *probe) {
    uint64_t start = clock_monotonic_usec();
    ask_helper(helper_argv, start + bound_usec, probe);
    probe->duration_usec = clock_monotonic_usec() - start;
}

/* Words */

/* The usual speed is 1000 turns a microsecond. */
static char *describe_interpreted(const AccelProbe *probe) {
    uint64_t factor = probe->guest_usec * 1000 / MAX_OF(probe->turns, 1u);
    return str_format(
        "/dev/kvm opens but runs guest code about %llu times too slowly (it interprets)",
        (unsigned long long)MAX_OF(factor, 1u));
}

char *accel_probe_describe(const AccelProbe *probe) {
    switch (probe->outcome) {
    case ACCEL_OUTCOME_WORKS:
        return str_copy("/dev/kvm works");
    case ACCEL_OUTCOME_NO_DEVICE:
        return str_copy("there is no /dev/kvm");
    case ACCEL_OUTCOME_NO_PERMISSION:
        return str_copy("/dev/kvm is there but may not be opened by this user");
    case ACCEL_OUTCOME_INTERPRETED:
        return describe_interpreted(probe);
    case ACCEL_OUTCOME_HUNG:
        return str_copy("/dev/kvm opens but does not answer in time");
    default:
        return str_format("/dev/kvm does not work: %s: %s", probe->step, strerror(probe->errnum));
    }
}

/* Remembering */

json_t *accel_probe_to_json(const AccelProbe *probe) {
    return json_pack("{s:s, s:i, s:s, s:I, s:I, s:I}", "outcome", outcome_names[probe->outcome],
                     "errno", probe->errnum, "step", probe->step, "turns", (json_int_t)probe->turns,
                     "guest_usec", (json_int_t)probe->guest_usec, "duration_usec",
                     (json_int_t)probe->duration_usec);
}

int accel_probe_from_json(const json_t *json, AccelProbe *probe, Error *error) {
    static const char *const what = "the accelerator's probe";
    const char *name = NULL, *step = "";
    AccelProbe found = {0};
    uint64_t errnum = 0;
    int r = json_get_string(what, json, "outcome", &name, error);
    if (r == 0 && outcome_from_name(name, &found.outcome) < 0)
        return error_set(error, ERROR_USAGE, EINVAL, "%s has an unknown outcome", what);
    if (r == 0)
        r = json_opt_string(what, json, "step", &step, error);
    if (r == 0)
        r = json_opt_u64(what, json, "errno", &errnum, error);
    if (r == 0)
        r = json_opt_u64(what, json, "turns", &found.turns, error);
    if (r == 0)
        r = json_opt_u64(what, json, "guest_usec", &found.guest_usec, error);
    if (r == 0)
        r = json_opt_u64(what, json, "duration_usec", &found.duration_usec, error);
    if (r < 0)
        return r;
    found.errnum = (int)MIN_OF(errnum, (uint64_t)4095);
    (void)snprintf(found.step, sizeof(found.step), "%s", step);
    *probe = found;
    return 0;
}

/* The running host's boot id, or a copy of the one given. NULL when there is none. */
static char *boot_id_of_host(const char *given) {
    char *text = NULL;
    if (given)
        return str_copy(given);
    if (fd_read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128, &text, NULL) < 0)
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return text;
}

int accel_cache_load(const char *folder, const char *boot_id, AccelProbe *probe) {
    _cleanup_close_ int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_free_ char *text = NULL, *boot = boot_id_of_host(boot_id);
    _cleanup_json_ json_t *json = NULL;
    size_t size;
    if (folder_fd < 0 || !boot || fd_read_file_at(folder_fd, CACHE_NAME, 4 * KIB, &text, &size) < 0)
        return -ENOENT;
    if (json_parse("the cache", text, size, &json, NULL) < 0)
        return -ENOENT;
    if (!str_equal(json_string_value(json_object_get(json, "boot_id")), boot))
        return -ENOENT;
    return accel_probe_from_json(json, probe, NULL) < 0 ? -ENOENT : 0;
}

int accel_cache_store(const char *folder, const char *boot_id, const AccelProbe *probe) {
    _cleanup_close_ int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_free_ char *text = NULL, *boot = boot_id_of_host(boot_id);
    _cleanup_json_ json_t *json = accel_probe_to_json(probe);
    if (probe->outcome == ACCEL_OUTCOME_NO_DEVICE || probe->outcome == ACCEL_OUTCOME_NO_PERMISSION)
        return 0;
    if (folder_fd < 0 || !boot)
        return -ENOENT;
    (void)json_object_set_new(json, "boot_id", json_string(boot));
    text = json_to_text(json);
    return path_write_atomic_at(folder_fd, CACHE_NAME, text, strlen(text), 0600);
}

void accel_probe_cached(const char *folder, const char *wish, char *const *helper_argv,
                        AccelProbe *probe, bool *fresh) {
    bool patient = str_equal(wish, "kvm");
    bool known = accel_cache_load(folder, NULL, probe) == 0 &&
                 !(patient && probe->outcome == ACCEL_OUTCOME_HUNG);
    if (!known) {
        accel_probe(helper_argv, patient ? ACCEL_PROBE_PATIENT_USEC : ACCEL_PROBE_BOUND_USEC,
                    probe);
        (void)accel_cache_store(folder, NULL, probe);
    }
    if (fresh)
        *fresh = !known;
}

/* Choosing */

static bool wish_is_auto(const char *wish) {
    return !wish || !*wish || str_equal(wish, "auto");
}

bool accel_wish_needs_probe(const char *wish) {
    return !str_equal(wish, "tcg");
}

static int choose_probed(bool forced, const AccelProbe *probe, const char **accel, char **reason,
                         Error *error) {
    _cleanup_free_ char *words = accel_probe_describe(probe);
    if (probe->outcome == ACCEL_OUTCOME_WORKS) {
        *accel = "kvm";
        *reason = TAKE_PTR(words);
        return 0;
    }
    if (forced && probe->outcome == ACCEL_OUTCOME_INTERPRETED) {
        *accel = "kvm";
        *reason = str_format("RAMET_ACCEL asks for KVM, though %s", words);
        return 0;
    }
    if (forced) {
        error_set(error, ERROR_UNSUPPORTED, ENODEV, "KVM was asked for, but %s", words);
        error_set_hint(error, "unset RAMET_ACCEL to use software emulation");
        return -ENODEV;
    }
    *accel = "tcg";
    *reason = str_format("%s: using software emulation", words);
    return 0;
}

int accel_choose(const char *wish, const AccelProbe *probe, const char **accel, char **reason,
                 Error *error) {
    if (str_equal(wish, "tcg")) {
        *accel = "tcg";
        *reason = str_copy("RAMET_ACCEL asks for software emulation");
        return 0;
    }
    if (!wish_is_auto(wish) && !str_equal(wish, "kvm")) {
        error_set(error, ERROR_USAGE, EINVAL, "RAMET_ACCEL is \"%s\"", wish);
        error_set_hint(error, "it may be auto, kvm or tcg");
        return -EINVAL;
    }
    return choose_probed(!wish_is_auto(wish), probe, accel, reason, error);
}
