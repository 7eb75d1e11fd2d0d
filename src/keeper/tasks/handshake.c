/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/tasks/handshake.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "keeper/guest/agent_result.h"

/* How a guest becomes itself.
 *
 *     booted:              HELLO ──▶ WELCOME ──▶ IDENTITY ──▶ RESULT
 *     restored, claimed:   HELLO, IDENTITY ──▶ WELCOME, RESULT ──▶ CLOCK, THAW
 *
 * The identity of a clone comes with the greeting, so that its agent finds both in the same breath.
 * What it says of the time is late by as much as it takes until the agent reads it. The WELCOME
 * tells what the guest's own clock showed then, and the RESULT what time the guest now takes that
 * for; it must lie between the host's times of greeting and WELCOME. Where all that can be wrong
 * with it is little, the guest is itself, and CLOCK only makes it exact, together with the thaw.
 *
 * Otherwise CLOCK comes first. The guest read its clock for the WELCOME after it was greeted and
 * before the WELCOME came, and for the RESULT of each CLOCK between the host's times of both. Each
 * of them bounds what the host's time was when the guest's uptime was 0, however busy the host is
 * and whichever of the two ways took long; together they narrow it down (after Marzullo and Owicki,
 * Maintaining the time in a distributed system, 1983). CLOCK tells the middle of what is left open,
 * and is sent again while that is too much.
 *
 * The thaw comes last: the agent lets nobody else run before it, nor is anything written to the
 * disks (docs/agent.md). A clone that is to stay warm then runs a command and, with FREEZE, lets
 * only its agent run again. One that keeps its names waits before the thaw: its programs speak to
 * those of other clones, which are not there yet.
 *
 * A booted kernel that was restored has random numbers and the time only, and goes on at the thaw.
 * Its agent announces itself anew then, and all of this begins again as for a guest that booted.
 *
 * When the link is lost meanwhile, the next WELCOME begins with IDENTITY anew. */

#define PAYLOAD_ROOM (4096 + SSH_AUTHORIZED_KEYS_SIZE)
#define CLOCK_OPEN_USEC 40000 /* how far a clock may be off, for all we know */
#define CLOCK_STEP_USEC 1000  /* the guest leaves a clock alone that is off by less */
#define CLOCKS_MAX 16

/* The steps, in order; each of the last ones is the answer to a request. */
static void on_named(void *data, const Frame *frame);
static void on_clock_set(void *data, const Frame *frame);
static void let_run(Handshake *handshake);
static void exercise(Handshake *handshake);
static void on_exercised(void *data, const Frame *frame);
static void on_frozen(void *data, const Frame *frame);

void handshake_init(Handshake *handshake, AgentChannel *channel, const Plan *plan,
                    const HandshakeHandlers *handlers, void *data) {
    *handshake = (Handshake){.channel = channel, .plan = plan, .handlers = handlers, .data = data};
}

static bool is_restored(const Handshake *handshake) {
    return handshake->plan->boot == PLAN_BOOT_RESTORE;
}

static void done(Handshake *handshake) {
    handshake->active = false;
    handshake->handlers->done(handshake->data);
}

static void fail(Handshake *handshake, Error *error) {
    handshake->active = false;
    handshake->handlers->failed(handshake->data, error);
}

static int sent(int r, Error *error) {
    return r < 0 ? error_set_errno(error, -r, "cannot send the VM's identity") : 0;
}

/* The answer to a step. True when it is over and went well. */
static bool step_done(Handshake *handshake, LinkStream **step, const Frame *frame, const char *what,
                      AgentResult *result) {
    Error error = ERROR_INIT;
    if (frame && frame->type != FRAME_RESULT)
        return false;
    *step = NULL;
    if (!frame || !handshake->active)
        return false;
    if (agent_result_read(frame, what, ERROR_GUEST_NOT_READY, result, &error) == 0)
        return true;
    fail(handshake, &error);
    return false;
}

/* Greeting and identity */

static int send_identity(Handshake *handshake, Error *error) {
    uint8_t payload[PAYLOAD_ROOM];
    ssize_t size =
        identity_payload_write(handshake->plan, &handshake->told, payload, sizeof(payload));
    handshake->named = false;
    return sent(size < 0 ? (int)size
                         : link_open_ahead(&handshake->channel->link, FRAME_IDENTITY, payload,
                                           (size_t)size, on_named, handshake, &handshake->identity),
                error);
}

void handshake_expect(Handshake *handshake) {
    handshake->active = true;
    handshake->named = false;
    handshake->told = (ClockPair){0};
    handshake->greeted_usec = 0;
}

int handshake_greet(Handshake *handshake, const uint8_t *marker, Error *error) {
    handshake->active = true;
    handshake->told = (ClockPair){0};
    handshake->greeted_usec = clock_realtime_usec();
    link_greet(&handshake->channel->link, marker);
    return send_identity(handshake, error);
}

/* Clock */

static uint64_t distance(uint64_t a, uint64_t b) {
    return a > b ? a - b : b - a;
}

/* The guest's uptime was that at some time of the host between those. */
static void narrow(ClockBounds *bounds, uint64_t uptime_usec, uint64_t from_usec,
                   uint64_t to_usec) {
    bounds->least_usec = MAX_OF(bounds->least_usec, from_usec - uptime_usec);
    bounds->most_usec = MIN_OF(bounds->most_usec, to_usec - uptime_usec);
}

/* How far off a clock can be by which the guest's uptime was 0 at that time. */
static uint64_t error_bound(const ClockBounds *bounds, uint64_t zero_usec) {
    return MAX_OF(distance(zero_usec, bounds->least_usec), distance(zero_usec, bounds->most_usec));
}

/* An answer seldom is long on its way, so the latest time is the best guess while it is good enough
 * at the worst. */
static ClockPair best_guess(const ClockBounds *bounds, uint64_t uptime_usec) {
    uint64_t zero_usec = bounds->most_usec;
    if (error_bound(bounds, zero_usec) > CLOCK_OPEN_USEC)
        zero_usec = bounds->least_usec / 2 + bounds->most_usec / 2;
    return (ClockPair){.realtime_usec = zero_usec + uptime_usec, .uptime_usec = uptime_usec};
}

static int send_clock(Handshake *handshake, LinkStreamHandler handler, Error *error) {
    uint8_t payload[64];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    identity_payload_add_clock(&writer, &handshake->told);
    handshake->sent_usec = clock_realtime_usec();
    handshake->clocks_sent++;
    return sent(link_open(&handshake->channel->link, FRAME_CLOCK, payload, writer.size, handler,
                          handshake, &handshake->clock),
                error);
}

/* A guest that boots was not greeted before it said HELLO, and has nothing else to do. */
int handshake_welcomed(Handshake *handshake, Error *error) {
    uint64_t now = clock_realtime_usec(), uptime_usec = handshake->channel->welcome.uptime_usec;
    handshake->bounds = (ClockBounds){.most_usec = UINT64_MAX};
    narrow(&handshake->bounds, uptime_usec, handshake->greeted_usec ? handshake->greeted_usec : now,
           now);
    handshake->told = best_guess(&handshake->bounds, uptime_usec);
    handshake->clocks_sent = 0;
    if (!handshake->named && !handshake->identity)
        return send_identity(handshake, error);
    if (handshake->named && is_restored(handshake)) /* the link was lost after that */
        return send_clock(handshake, on_clock_set, error);
    return 0;
}

/* since_usec: when the guest's uptime was 0, as its clocks say now; 0: it does not say. */
static bool is_clock_near(const Handshake *handshake, uint64_t since_usec) {
    return since_usec && error_bound(&handshake->bounds, since_usec) <= CLOCK_OPEN_USEC;
}

/* Who becomes another must not have run a line of the guest's programs before. */
static int require_exclusive(const AgentResult *result, Error *error) {
    if (result->exclusive)
        return 0;
    (void)error_set(error, ERROR_GUEST_NOT_READY, 0,
                    "programs of the guest ran, or might have, before it was itself: %s",
                    result->why_not);
    error_set_hint(error, "try again; if it stays so, take a new snapshot of a VM that runs");
    return -EPERM;
}

/* An agent that knows nothing of that has gone on to its disks, or would never go on from here. */
static int require_waiting(const AgentResult *result, Error *error) {
    if (result->exclusive)
        return 0;
    return error_set(error, ERROR_GUEST_NOT_READY, EPROTO,
                     "its agent does not wait before it takes its disks");
}

/* A VM that resumes is who it was before, and goes on in any case. */
static int check_exclusive(Handshake *handshake, AgentResult *result, Error *error) {
    if (handshake->plan->kernel_only)
        return require_waiting(result, error);
    if (result->exclusive && !handshake->channel->welcome.exclusive) {
        result->exclusive = false;
        (void)snprintf(result->why_not, sizeof(result->why_not),
                       "its agent had not kept them waiting");
    }
    handshake->exclusive = result->exclusive;
    if (!is_restored(handshake) || result->exclusive)
        return 0;
    log_warning("programs of the guest may have run before it was itself: %s", result->why_not);
    return handshake->plan->identity.clone ? require_exclusive(result, error) : 0;
}

static void on_named(void *data, const Frame *frame) {
    Handshake *handshake = data;
    Error error = ERROR_INIT;
    AgentResult result;
    if (!step_done(handshake, &handshake->identity, frame, "cannot apply the VM's identity",
                   &result))
        return;
    handshake->handlers->applied(handshake->data, agent_result_note(frame));
    handshake->named = true;
    handshake->took_ssh_key = result.ssh_key;
    if (check_exclusive(handshake, &result, &error) < 0)
        fail(handshake, &error);
    else if (!is_restored(handshake) || is_clock_near(handshake, result.value))
        let_run(handshake);
    else if (send_clock(handshake, on_clock_set, &error) < 0)
        fail(handshake, &error);
}

/* True: the guest's clock, which showed that, may be far off, and the next CLOCK tells better. An
 * agent of an earlier version shows nothing (0). */
static bool correct_clock(Handshake *handshake, uint64_t shown_usec) {
    uint64_t now = clock_realtime_usec();
    uint64_t zero_usec = handshake->told.realtime_usec - handshake->told.uptime_usec;
    uint64_t uptime_usec = shown_usec - zero_usec;
    if (shown_usec == 0)
        return false;
    narrow(&handshake->bounds, uptime_usec, handshake->sent_usec - CLOCK_STEP_USEC,
           now + CLOCK_STEP_USEC);
    if (handshake->clocks_sent >= CLOCKS_MAX ||
        error_bound(&handshake->bounds, zero_usec) <= CLOCK_OPEN_USEC)
        return false;
    handshake->told = best_guess(&handshake->bounds, uptime_usec);
    return true;
}

static void on_clock_set(void *data, const Frame *frame) {
    Handshake *handshake = data;
    Error error = ERROR_INIT;
    AgentResult shown;
    if (!step_done(handshake, &handshake->clock, frame, "cannot set the VM's clock", &shown))
        return;
    if (!correct_clock(handshake, shown.value))
        let_run(handshake);
    else if (send_clock(handshake, on_clock_set, &error) < 0)
        fail(handshake, &error);
}

/* It is itself */

/* Its time is near enough to be seen; this makes it exact before anybody sees it. */
static void on_clock_refined(void *data, const Frame *frame) {
    Handshake *handshake = data;
    handshake->clock = NULL;
    agent_result_log_failure(frame, "cannot set the VM's clock");
}

/* The file systems of a snapshot are frozen. The VM is ready without the answer to THAW: whoever
 * writes to a disk meanwhile only waits a little longer. */
static void let_run(Handshake *handshake) {
    const Plan *plan = handshake->plan;
    bool warm = is_restored(handshake) && plan->start_paused;
    Error error = ERROR_INIT;
    int r = 0;
    if (warm && plan->identity.keep) {
        done(handshake);
        return;
    }
    if (is_restored(handshake) && handshake->clocks_sent == 0)
        r = send_clock(handshake, on_clock_refined, &error);
    if (r == 0 && is_restored(handshake))
        r = sent(agent_channel_thaw(handshake->channel), &error);
    if (r < 0)
        fail(handshake, &error);
    else if (warm)
        exercise(handshake);
    else
        done(handshake);
}

/* A clone that is to stay warm runs `true` after the thaw, and then waits again, before it is
 * paused: the code that its first user waits for has then run once, and an emulated CPU has it
 * translated. An image without that command only has less of it. */
static void exercise(Handshake *handshake) {
    uint8_t payload[64];
    TlvWriter writer;
    LinkStream *stream;
    Error error = ERROR_INIT;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_text(&writer, TAG_ARG, "true");
    int r = link_open(&handshake->channel->link, FRAME_EXEC, payload, writer.size, on_exercised,
                      handshake, &stream);
    if (sent(r, &error) < 0)
        fail(handshake, &error);
}

/* Whatever came of it, it did what it was for. Nobody runs between a claim and the new name. */
static void on_exercised(void *data, const Frame *frame) {
    Handshake *handshake = data;
    uint8_t payload[32];
    TlvWriter writer;
    LinkStream *stream;
    Error error = ERROR_INIT;
    bool over = frame && (frame->type == FRAME_EXIT || frame->type == FRAME_RESULT);
    if (!over || !handshake->active)
        return;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, TAG_FLAGS, FREEZE_NOT_DISKS);
    int r = link_open(&handshake->channel->link, FRAME_FREEZE, payload, writer.size, on_frozen,
                      handshake, &stream);
    if (r == 0 || r == -ENOTCONN) /* without a link the next WELCOME begins anew */
        return;
    (void)error_set_errno(&error, -r, "cannot tell the agent to wait");
    fail(handshake, &error);
}

static void on_frozen(void *data, const Frame *frame) {
    Handshake *handshake = data;
    Error error = ERROR_INIT;
    AgentResult result;
    if (!frame || frame->type != FRAME_RESULT || !handshake->active)
        return;
    int r = agent_result_read(frame, "cannot wait to be claimed", ERROR_GUEST_NOT_READY, &result,
                              &error);
    if (r == 0)
        r = require_exclusive(&result, &error);
    if (r < 0)
        fail(handshake, &error);
    else
        done(handshake);
}
