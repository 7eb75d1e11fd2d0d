/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/api/session_timeout.h"

#include <signal.h>

#include "proto/tlv.h"

#define TERM_GRACE_USEC (2 * USEC_PER_SEC)
#define KILL_GRACE_USEC (5 * USEC_PER_SEC)

int session_send_signal(Session *session, int number) {
    uint8_t payload[32];
    TlvWriter writer;
    if (!session->stream)
        return 0;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, TAG_SIGNAL, (uint64_t)number);
    return link_send(&session->all->vm->channel.link, session->stream, FRAME_SIGNAL, payload,
                     writer.size);
}

static void give_up(Session *session) {
    session->timed_out = TIMED_OUT_SILENT;
    if (session->stream)
        link_cancel(&session->all->vm->channel.link, session->stream);
    session->stream = NULL;
    session_set_exit(session, TIMED_OUT_STATUS);
    session_send(session);
}

/* A signal that the link does not take now means a guest that does not read: the next step comes
 * all the same. */
static void on_timeout(void *data) {
    Session *session = data;
    uint64_t now = clock_monotonic_usec();
    switch (session->timer_step++) {
    case 0:
        session->timed_out = TIMED_OUT_ENDED;
        (void)session_send_signal(session, SIGTERM);
        loop_set_timer(session->timer, now + TERM_GRACE_USEC);
        break;
    case 1:
        (void)session_send_signal(session, SIGKILL);
        loop_set_timer(session->timer, now + KILL_GRACE_USEC);
        break;
    default:
        give_up(session);
    }
}

void session_set_timeout(Session *session, uint64_t timeout_usec) {
    session->timer = loop_add_timer(session->all->vm->loop, clock_monotonic_usec() + timeout_usec,
                                    on_timeout, session);
}
