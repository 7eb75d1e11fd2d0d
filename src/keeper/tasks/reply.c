/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/tasks/reply.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"

void reply_keep(Reply *reply, void (*gone)(void *task), void *task) {
    reply->gone = gone;
    reply->task = task;
}

void reply_await(Reply *reply, void (*told)(void *task, bool go_on)) {
    reply->told = told;
}

void reply_event(Reply *reply, json_t *event) {
    if (reply)
        reply->handlers->event(reply->data, event);
    json_decref(event);
}

void reply_stage(Reply *reply, const char *name) {
    reply_event(reply, json_pack("{s:s, s:s, s:I}", "event", "stage", "name", name, "at_us",
                                 (json_int_t)clock_monotonic_usec()));
}

void reply_note(Reply *reply, char *note) {
    if (note)
        reply_event(reply, json_pack("{s:s, s:s}", "event", "log", "message", note));
    free(note);
}

/* The task keeps it no longer. */
static void release(Reply *reply) {
    reply->gone = NULL;
    reply->told = NULL;
}

void reply_answer(Reply *reply, json_t *ok) {
    _cleanup_json_ json_t *owned = ok ? ok : json_object();
    if (!reply)
        return;
    release(reply);
    reply->handlers->answer(reply->data, owned);
}

void reply_fail(Reply *reply, const Error *error) {
    if (!reply)
        return;
    release(reply);
    reply->handlers->fail(reply->data, error);
}

int reply_tell(Reply *reply, bool go_on) {
    void (*told)(void *task, bool go_on) = reply->told;
    reply->told = NULL;
    if (!told)
        return -EBADMSG;
    told(reply->task, go_on);
    return 0;
}

void reply_drop(Reply *reply) {
    void (*gone)(void *task) = reply->gone;
    release(reply);
    if (gone)
        gone(reply->task);
}
