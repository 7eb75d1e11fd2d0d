/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/guest/pulse.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/process/process.h"
#include "base/str.h"

/* A guest may spin with interrupts off, have halted its CPUs, or hang after a panic. Its QEMU is
 * well then, and nothing ever comes back from its agent. So the keeper checks every few seconds.
 * What came from the agent since the last check is a sign of life; so is the answer to a PING,
 * which is sent when there was no such sign though the guest was busy or somebody waits for an
 * answer, and otherwise once a minute only, since an idle guest should stay idle.
 *
 * The guest counts as silent when it owes an answer and either had the CPU for long enough to give
 * one many times over, or a time has passed in which even a guest on a crowded host gets its turn.
 * Time in which it was paused, or a snapshot taken of it, does not count. All who wait for it are
 * told then, and who comes later is told at once. A late answer takes all of that back. */

#define CHECK_USEC (3 * USEC_PER_SEC)
#define IDLE_PING_USEC (60 * USEC_PER_SEC)
#define BUSY_USEC (CHECK_USEC / 4) /* of CPU time between two checks */
#define SPINS_USEC (20 * USEC_PER_SEC)
#define SPINS_CPU_USEC (12 * USEC_PER_SEC) /* of each virtual CPU */
#define SILENT_USEC (60 * USEC_PER_SEC)

void pulse_init(Pulse *pulse, Loop *loop, Link *link, const PulseHandlers *handlers, void *data) {
    *pulse = (Pulse){.loop = loop, .link = link, .handlers = handlers, .data = data};
}

/* A ping, a greeting, or bytes that it does not read. */
static bool owes_answer(const Pulse *pulse) {
    size_t size;
    (void)link_output(pulse->link, &size);
    return pulse->ping || size > 0 || pulse->link->state != LINK_UP;
}

static void on_ping(void *data, const Frame *frame) {
    Pulse *pulse = data;
    if (!frame || frame->type == FRAME_RESULT)
        pulse->ping = NULL;
}

static bool wants_ping(const Pulse *pulse, uint64_t now, uint64_t cpu) {
    uint64_t quiet = now - pulse->heard_usec;
    return quiet >= IDLE_PING_USEC ||
           (quiet >= CHECK_USEC && (pulse->asked || cpu - pulse->cpu_usec >= BUSY_USEC));
}

static void set_silent(Pulse *pulse, bool silent) {
    if (pulse->silent == silent)
        return;
    pulse->silent = silent;
    log_info("the guest %s", silent ? "does not answer any more" : "answers again");
    pulse->handlers->changed(pulse->data, silent);
}

static bool is_overdue(const Pulse *pulse, uint64_t now, uint64_t cpu) {
    uint64_t waited = now - pulse->owed_since_usec;
    uint64_t used = (cpu - pulse->owed_since_cpu_usec) / MAX_OF(pulse->cpus, 1U);
    return waited >= SILENT_USEC || (waited >= SPINS_USEC && used >= SPINS_CPU_USEC);
}

/* Without a free stream (all of them are sessions) no ping is sent, and there is nothing to say. */
static void check(Pulse *pulse) {
    uint64_t now = clock_monotonic_usec(), cpu = process_cpu_usec(pulse->qemu_pid);
    if (!owes_answer(pulse) && wants_ping(pulse, now, cpu))
        (void)link_open(pulse->link, FRAME_PING, NULL, 0, on_ping, pulse, &pulse->ping);
    if (!owes_answer(pulse)) {
        pulse->owed_since_usec = 0;
    } else if (pulse->owed_since_usec == 0) {
        pulse->owed_since_usec = now;
        pulse->owed_since_cpu_usec = cpu;
    } else if (is_overdue(pulse, now, cpu)) {
        set_silent(pulse, true);
    }
    pulse->cpu_usec = cpu;
}

/* What it owed before it stood still counts from now on. */
static void start_over(Pulse *pulse) {
    pulse->owed_since_usec = 0;
    pulse->heard_usec = clock_monotonic_usec();
}

static void on_check(void *data) {
    Pulse *pulse = data;
    loop_set_timer(pulse->timer, clock_monotonic_usec() + CHECK_USEC);
    if (pulse->handlers->is_running(pulse->data)) {
        check(pulse);
        return;
    }
    start_over(pulse);
    set_silent(pulse, false);
}

void pulse_start(Pulse *pulse, pid_t qemu_pid, unsigned cpus) {
    if (pulse->timer)
        return;
    pulse->qemu_pid = qemu_pid;
    pulse->cpus = cpus;
    start_over(pulse);
    pulse->timer =
        loop_add_timer(pulse->loop, clock_monotonic_usec() + CHECK_USEC, on_check, pulse);
}

void pulse_stop(Pulse *pulse) {
    pulse->timer = loop_remove(pulse->timer);
}

void pulse_heard(Pulse *pulse) {
    if (pulse->link->state != LINK_UP)
        return;
    start_over(pulse);
    pulse->asked = false;
    set_silent(pulse, false);
}

void pulse_asked(Pulse *pulse) {
    pulse->asked = true;
}

int pulse_require(const Pulse *pulse, Error *error) {
    if (!pulse->silent)
        return 0;
    _cleanup_free_ char *time = format_duration(clock_monotonic_usec() - pulse->owed_since_usec);
    int r = error_set(error, ERROR_GUEST_NOT_READY, ETIMEDOUT,
                      "the guest does not answer (for %s now)", time);
    error_set_hint(error,
                   "look at its console with ramet logs; ramet restart or ramet kill ends it");
    return r;
}
