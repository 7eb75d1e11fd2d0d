/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/keeper.h"

#include <errno.h>

#include "base/log.h"
#include "proto/tlv.h"

/* How a guest becomes itself.
 *
 *     booted:              HELLO ──▶ WELCOME ──▶ IDENTITY ──▶ DONE
 *     restored, claimed:   HELLO, IDENTITY ──▶ WELCOME, DONE ──▶ CLOCK, THAW
 *
 * The identity of a clone comes with the greeting, so that its agent finds both in the same breath.
 * What it says of the time is late by as much as it takes until the agent reads it. The WELCOME
 * tells what the guest's own clock showed then, and the DONE what time the guest now takes that
 * for; it must lie between the host's times of greeting and WELCOME. Where all that can be wrong
 * with it is little, the guest is itself, and CLOCK only makes it exact, together with the thaw.
 *
 * Otherwise CLOCK comes first, and tells what time it was when the WELCOME came, however long it
 * takes until the agent reads that. What it cannot know is how long the WELCOME was on its way,
 * which on a busy host may be long: the guest's clock is ahead by that. The DONE of CLOCK tells
 * what the guest's clock shows then, which must lie between the host's times of CLOCK and of DONE.
 * Where that leaves too much open, another CLOCK takes the middle for the time (Cristian's
 * algorithm, Distributed Computing 3, 1989), over a way that is shorter, since the agent has
 * nothing else to do.
 *
 * The thaw comes last: the agent lets nobody else run before it, nor is anything written to the
 * disks (docs/agent.md). A clone that is to stay warm then runs a command and, with FREEZE, lets
 * only its agent run again.
 *
 * When the link is lost meanwhile, the next WELCOME begins with IDENTITY anew. */

#define PAYLOAD_ROOM 4096
#define CLOCK_OPEN_USEC 40000 /* how far a clock may be off, for all we know */
#define CLOCK_ROUNDS_MAX 5

static int failed(int r, Error *error) {
    return r < 0 ? error_set_errno(error, -r, "cannot send the VM's identity") : 0;
}

/* The file systems of a snapshot are frozen. The VM is ready without that: whoever writes to a disk
 * meanwhile only waits a little longer. */
static void on_thawed(void *data, const Frame *frame) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (frame && frame->type == FRAME_DONE &&
        done_read(frame, "cannot thaw the file systems", ERROR_FAILED, NULL, &error) < 0)
        log_warning("%s", error.message);
}

static int send_thaw(Keeper *keeper, Error *error) {
    LinkStream *stream;
    return failed(link_open(&keeper->link, FRAME_THAW, NULL, 0, on_thawed, keeper, &stream), error);
}

static bool is_clone(const Keeper *keeper) {
    return keeper->plan.boot == PLAN_BOOT_RESTORE;
}

static bool stays_warm(const Keeper *keeper) {
    return keeper->plan.start_paused && is_clone(keeper);
}

/* The clone holds its breath again, or has tried to. */
static void on_held(void *data, const Frame *frame) {
    Keeper *keeper = data;
    if (frame && frame->type == FRAME_DONE && start_goes_on(keeper))
        start_awake(keeper);
}

static void hold(Keeper *keeper) {
    uint8_t payload[32];
    TlvWriter writer;
    LinkStream *stream;
    Error error = ERROR_INIT;
    tlv_start(&writer, payload, sizeof payload);
    tlv_add_u64(&writer, TAG_FLAGS, FREEZE_NOT_DISKS);
    int r = link_open(&keeper->link, FRAME_FREEZE, payload, writer.size, on_held, keeper, &stream);
    if (r < 0 && r != -ENOTCONN) { /* without a link the next WELCOME begins anew */
        (void)error_set_errno(&error, -r, "cannot tell the agent to wait");
        start_fail(keeper, &error);
    }
}

/* Whatever came of it, it did what it was for. */
static void on_exercised(void *data, const Frame *frame) {
    Keeper *keeper = data;
    bool over = frame && (frame->type == FRAME_EXIT || frame->type == FRAME_DONE);
    if (over && start_goes_on(keeper))
        hold(keeper);
}

/* A warm clone runs `true` after the thaw and holds its breath again before it is paused: the code
 * that its first user waits for has then run once, and an emulated CPU has it translated. An image
 * without that command only has less of it. */
static void exercise(Keeper *keeper) {
    uint8_t payload[64];
    TlvWriter writer;
    LinkStream *stream;
    Error error = ERROR_INIT;
    tlv_start(&writer, payload, sizeof payload);
    tlv_add_text(&writer, TAG_ARG, "true");
    int r =
        link_open(&keeper->link, FRAME_EXEC, payload, writer.size, on_exercised, keeper, &stream);
    if (failed(r, &error) < 0)
        start_fail(keeper, &error);
}

static int send_clock(Keeper *keeper, LinkStreamHandler handler, Error *error);

/* Its time is near enough to be seen; this makes it exact before anybody sees it. */
static void on_clock_refined(void *data, const Frame *frame) {
    Keeper *keeper = data;
    _cleanup_error_ Error error = ERROR_INIT;
    keeper->start.clock = NULL;
    if (frame && frame->type == FRAME_DONE &&
        done_read(frame, "cannot set the VM's clock", ERROR_FAILED, NULL, &error) < 0)
        log_warning("%s", error.message);
}

static int let_go(Keeper *keeper, Error *error) {
    int r = 0;
    if (is_clone(keeper) && keeper->start.clock_pair.rounds == 0)
        r = send_clock(keeper, on_clock_refined, error);
    return r == 0 && is_clone(keeper) ? send_thaw(keeper, error) : r;
}

/* It is itself. */
static void wake(Keeper *keeper) {
    Error error = ERROR_INIT;
    if (let_go(keeper, &error) < 0)
        start_fail(keeper, &error);
    else if (stays_warm(keeper))
        exercise(keeper);
    else
        start_awake(keeper);
}

/* True when the step is over and went well. value (may be NULL): what the DONE carries, or 0. */
static bool step_done(Keeper *keeper, LinkStream **step, const Frame *frame, const char *what,
                      uint64_t *value) {
    Error error = ERROR_INIT;
    if (frame && frame->type != FRAME_DONE)
        return false;
    *step = NULL;
    if (!frame || !start_goes_on(keeper))
        return false;
    if (done_read(frame, what, ERROR_GUEST_NOT_READY, value, &error) == 0)
        return true;
    start_fail(keeper, &error);
    return false;
}

static uint64_t distance(uint64_t a, uint64_t b) {
    return a > b ? a - b : b - a;
}

/* The guest read its own clock, for the WELCOME, after it was greeted and before the WELCOME came.
 * since_usec: when its uptime was 0, as its clocks say now; 0: it does not say. */
static bool is_clock_near(const Start *start, uint64_t since_usec) {
    uint64_t shown = since_usec + start->clock_pair.uptime_usec;
    return since_usec && distance(shown, start->clock_pair.greeted_usec) <= CLOCK_OPEN_USEC &&
           distance(shown, start->clock_pair.realtime_usec) <= CLOCK_OPEN_USEC;
}

static void on_clock_set(void *data, const Frame *frame);

static void on_named(void *data, const Frame *frame) {
    Keeper *keeper = data;
    Start *start = &keeper->start;
    Error error = ERROR_INIT;
    uint64_t since_usec = 0;
    if (!step_done(keeper, &start->identity, frame, "cannot apply the VM's identity", &since_usec))
        return;
    start->named = true;
    if (!is_clone(keeper) || is_clock_near(start, since_usec))
        wake(keeper);
    else if (send_clock(keeper, on_clock_set, &error) < 0)
        start_fail(keeper, &error);
}

/* True: the guest's clock, which showed that, may be far off, and the next CLOCK tells better. An
 * agent of an earlier version shows nothing (0). */
static bool correct_clock(Start *start, uint64_t shown_usec) {
    uint64_t now = clock_realtime_usec(), sent = start->clock_pair.sent_usec;
    if (shown_usec == 0 || start->clock_pair.rounds >= CLOCK_ROUNDS_MAX ||
        MAX_OF(distance(shown_usec, sent), distance(shown_usec, now)) <= CLOCK_OPEN_USEC)
        return false;
    start->clock_pair.uptime_usec += shown_usec - start->clock_pair.realtime_usec;
    start->clock_pair.realtime_usec = sent + (now - sent) / 2;
    return true;
}

static void on_clock_set(void *data, const Frame *frame) {
    Keeper *keeper = data;
    Error error = ERROR_INIT;
    uint64_t shown_usec = 0;
    if (!step_done(keeper, &keeper->start.clock, frame, "cannot set the VM's clock", &shown_usec))
        return;
    if (!correct_clock(&keeper->start, shown_usec))
        wake(keeper);
    else if (send_clock(keeper, on_clock_set, &error) < 0)
        start_fail(keeper, &error);
}

static int send_identity(Keeper *keeper, Error *error) {
    uint8_t payload[PAYLOAD_ROOM];
    ssize_t size = identity_write(keeper, payload, sizeof payload);
    keeper->start.named = false;
    return failed(size < 0 ? (int)size
                           : link_open_ahead(&keeper->link, FRAME_IDENTITY, payload, (size_t)size,
                                             on_named, keeper, &keeper->start.identity),
                  error);
}

static int send_clock(Keeper *keeper, LinkStreamHandler handler, Error *error) {
    Start *start = &keeper->start;
    uint8_t payload[64];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof payload);
    identity_add_clock(&writer, keeper);
    start->clock_pair.sent_usec = clock_realtime_usec();
    start->clock_pair.rounds++;
    return failed(
        link_open(&keeper->link, FRAME_CLOCK, payload, writer.size, handler, keeper, &start->clock),
        error);
}

int wake_greet(Keeper *keeper, const uint8_t *marker, Error *error) {
    keeper->start.clock_pair.realtime_usec = 0;
    keeper->start.clock_pair.greeted_usec = clock_realtime_usec();
    link_greet(&keeper->link, marker);
    return send_identity(keeper, error);
}

int wake_welcomed(Keeper *keeper, Error *error) {
    Start *start = &keeper->start;
    int r = 0;
    start->clock_pair.realtime_usec = clock_realtime_usec();
    start->clock_pair.uptime_usec = keeper->welcome.uptime_usec;
    start->clock_pair.rounds = 0;
    if (!start->named && !start->identity)
        r = send_identity(keeper, error);
    else if (start->named && is_clone(keeper)) /* the link was lost after that */
        r = send_clock(keeper, on_clock_set, error);
    return r;
}
