/* SPDX-License-Identifier: Apache-2.0 */
/* A booted kernel, frozen in here, is what VMs of many images go on from (docs/cold-boot.md, "A
 * booted kernel"). So nothing of a VM is in its memory: no driver has a disk, no network card is
 * up, no program but this one runs. What makes it one VM's comes with IDENTITY: random numbers, the
 * time and the command line that its kernel would have been given. THAW lets it go on: it mounts
 * the disks, announces itself anew, and hears who it is as after any boot. */

#include "agent/boot/wait_disks.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "agent/disk/block.h"
#include "agent/identity/bind_cover.h"
#include "agent/identity/guest_identity.h"
#include "agent/session/channel.h"
#include "agent/session/session.h"
#include "proto/agent.h"
#include "proto/tlv.h"

#define CMDLINE_MAX 4096
#define CMDLINE_FILE "/cmdline"
#define LAST_WORDS_USEC 2000000u

static bool goes_on;

bool wait_disks_is_asked(void) {
    char value[16];
    return cmdline_value("ramet.wait=", value, sizeof(value)) == 0 && strcmp(value, "disks") == 0;
}

/* The kernel's own is that of the guest that was frozen. */
static int show_cmdline(const Frame *frame, Result *result) {
    char text[CMDLINE_MAX] = "";
    TlvReader reader;
    TlvField field;
    int r = 0;
    tlv_read(&reader, frame->payload, frame->length);
    while (r == 0 && tlv_next(&reader, &field) > 0)
        if (field.tag == TAG_CMDLINE)
            r = tlv_text(&field, text, sizeof(text) - 1);
    if (r == 0 && text[0]) {
        strcat(text, "\n");
        r = write_text(CMDLINE_FILE, text, 0444);
        if (r == 0)
            r = bind_cover_mount(CMDLINE_FILE, "/proc/cmdline");
    }
    return r < 0 ? result_fail(result, -r, "cannot replace /proc/cmdline") : 0;
}

static void take_identity(const Frame *frame, Result *result) {
    static GuestIdentity identity;
    int r = guest_identity_parse(frame->payload, frame->length, &identity, result);
    if (r == 0)
        r = guest_identity_add_entropy(&identity, result);
    if (r == 0 && identity.clock.given)
        r = guest_identity_set_clock(&identity.clock, result);
    if (r == 0)
        r = show_cmdline(frame, result);
    if (r == 0)
        result->value = realtime_usec() - now_usec(); /* when its uptime was 0 */
    result->exclusive = true;                         /* there is no program yet */
}

static void take_clock(const Frame *frame, Result *result) {
    static GuestIdentity identity;
    if (guest_identity_parse(frame->payload, frame->length, &identity, result) == 0)
        (void)guest_identity_set_clock(&identity.clock, result);
    result->value = realtime_usec();
}

static void handle(Session *session, const Frame *frame) {
    Result result = {0};
    if (frame->type == FRAME_IDENTITY)
        take_identity(frame, &result);
    else if (frame->type == FRAME_CLOCK)
        take_clock(frame, &result);
    else if (frame->type == FRAME_PING)
        result.value = realtime_usec();
    else if (frame->type == FRAME_THAW)
        goes_on = true;
    else
        result_say(&result, ENOSYS, "this guest has no programs yet");
    session_send_result(session, frame->stream, &result);
}

static void serve(Session *session) {
    while (!goes_on) {
        struct pollfd fd;
        fd.fd = channel_poll_fd(&session->channel, &fd.events);
        if (poll(&fd, 1, -1) < 0)
            continue;
        channel_handle_events(&session->channel, fd.revents);
        if (session->channel.connected)
            (void)session_read(session); /* when the host is away, it is waited for */
        channel_flush(&session->channel);
    }
    channel_drain(&session->channel, now_usec() + LAST_WORDS_USEC);
}

int wait_disks(uint64_t deadline_usec) {
    static Session session;
    int fd = channel_find(AGENT_CHANNEL_NAME, deadline_usec);
    int r = fd < 0 ? fd : session_init(&session, fd, true, handle);
    if (r < 0)
        return r;
    block_let_go();
    session_announce(&session);
    serve(&session);
    session_free(&session);
    block_take_up();
    return 0;
}
