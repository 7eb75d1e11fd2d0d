/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/api/detached.h"

#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/str.h"
#include "base/utf8.h"
#include "keeper/api/session_timeout.h"

#define DETACHED_MAX 64
#define DETACHED_NEVER UINT64_MAX

void detached_free(Session *session) {
    if (!session->detached)
        return;
    json_decref(session->detached->argv);
    error_clear(&session->detached->error);
    free(session->detached);
}

static Session *find(Sessions *sessions, const char *id) {
    for (Session *session = sessions->list; session; session = session->next)
        if (session->detached && !session->over && str_equal(session->detached->id, id))
            return session;
    return NULL;
}

static int find_asked(Sessions *sessions, const json_t *request, Session **found, Error *error) {
    const char *id;
    int r = json_get_string("the request", request, "id", &id, error);
    if (r < 0)
        return r;
    *found = find(sessions, id);
    if (*found)
        return 0;
    _cleanup_free_ char *shown = utf8_show(id, strnlen(id, 64));
    r = error_set(error, ERROR_NOT_FOUND, 0, "there is no detached command %s", shown);
    error_set_hint(error, "what ended long ago, or ran before the VM's last start, is forgotten");
    return r;
}

/* The list begins with the newest. */
static int make_room(Sessions *sessions, Error *error) {
    Session *oldest_ended = NULL;
    unsigned count = 0;
    for (Session *session = sessions->list; session; session = session->next) {
        if (!session->detached || session->over)
            continue;
        count++;
        if (session->detached->ended)
            oldest_ended = session;
    }
    if (count < DETACHED_MAX)
        return 0;
    if (!oldest_ended)
        return error_set(error, ERROR_CONFLICT, EBUSY, "%d detached commands run in the VM already",
                         DETACHED_MAX);
    oldest_ended->over = true;
    return 0;
}

static void draw_id(Sessions *sessions, char *id) {
    uint8_t bytes[(DETACHED_ID_SIZE - 1) / 2];
    do {
        random_bytes(bytes, sizeof(bytes));
        hex_encode(bytes, sizeof(bytes), id);
    } while (find(sessions, id));
}

int detached_begin(Session *session, const json_t *request, Error *error) {
    int r = make_room(session->all, error);
    if (r < 0)
        return r;
    session->detached = calloc(1, sizeof(*session->detached));
    if (!session->detached)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    draw_id(session->all, session->detached->id);
    session->detached->argv = json_incref(json_object_get(request, "argv"));
    session->detached->started_at_usec = clock_realtime_usec();
    session->answer.form = ANSWER_DOCUMENT;
    session->answer.keep_bytes = ANSWER_DETACHED_MAX;
    return 0;
}

/* Waiting */

static void answer_wait(Session *waiter, const Session *command) {
    const Detached *detached = command->detached;
    if (detached->error.kind != ERROR_NONE) {
        answer_error(&waiter->answer, &detached->error);
        return;
    }
    int status = detached->ended ? detached->status : -1;
    _cleanup_json_ json_t *document =
        answer_document(&command->answer, waiter->answer.text, status, command->timed_out != 0);
    (void)json_object_set_new(document, "id", json_string(detached->id));
    (void)json_object_set_new(document, "running", json_boolean(!detached->ended));
    answer_send_json(&waiter->answer, 200, document);
}

static void on_wait_over(void *data) {
    Session *waiter = data;
    const Session *command = find(waiter->all, waiter->waits_for);
    waiter->timer = loop_remove(waiter->timer);
    if (command)
        answer_wait(waiter, command);
    session_send(waiter);
}

int detached_wait(Session *session, const json_t *request, Error *error) {
    Session *command;
    uint64_t timeout_s = DETACHED_NEVER;
    int r = find_asked(session->all, request, &command, error);
    if (r == 0)
        r = json_opt_u64("the request", request, "timeout_s", &timeout_s, error);
    if (r < 0)
        return r;
    session->answer.form = ANSWER_DOCUMENT;
    memcpy(session->waits_for, command->detached->id, DETACHED_ID_SIZE);
    if (command->detached->ended || timeout_s == 0)
        answer_wait(session, command);
    else if (timeout_s != DETACHED_NEVER)
        session->timer = loop_add_timer(session->all->vm->loop,
                                        clock_monotonic_usec() +
                                            MIN_OF(timeout_s, (uint64_t)UINT32_MAX) * USEC_PER_SEC,
                                        on_wait_over, session);
    return 0;
}

static void read_end(Session *session) {
    Detached *detached = session->detached;
    const void *last = fifo_front(&session->last);
    size_t size = fifo_size(&session->last);
    uint64_t status = 0;
    _cleanup_json_ json_t *json = NULL;
    detached->ended = true;
    if (session->last_type == FRAME_EXIT && session_read_exit(last, size, &status) == 0)
        detached->status = (int)status;
    else if (session->last_type != FRAME_ERROR ||
             json_parse("the error", last, size, &json, NULL) < 0 ||
             json_to_error(json, &detached->error) < 0)
        (void)error_set(&detached->error, ERROR_CORRUPT, EBADMSG,
                        "the agent's answer is malformed");
}

static void tell_waiters(Session *session) {
    for (Session *waiter = session->all->list; waiter; waiter = waiter->next)
        if (str_equal(waiter->waits_for, session->detached->id) && !waiter->over) {
            answer_wait(waiter, session);
            session_send(waiter);
        }
}

void detached_finish(Sessions *sessions) {
    for (Session *session = sessions->list; session; session = session->next) {
        if (!session->detached || !session->last_type)
            continue;
        if (!session->detached->ended) {
            read_end(session);
            tell_waiters(session);
        }
        session->over |= sessions->vm->state == VM_ENDED;
    }
}

/* Requests of the daemon */

static json_t *describe(const Session *session) {
    const Detached *detached = session->detached;
    _cleanup_free_ char *time = clock_format_realtime(detached->started_at_usec);
    bool known = detached->ended && detached->error.kind == ERROR_NONE;
    return json_pack("{s:s, s:O, s:b, s:o, s:b, s:s}", "id", detached->id, "argv", detached->argv,
                     "running", !detached->ended, "exit_status",
                     known ? json_integer(detached->status) : json_null(), "timed_out",
                     session->timed_out != 0, "started_at", time);
}

json_t *detached_list(const Sessions *sessions) {
    json_t *list = json_array();
    for (const Session *session = sessions->list; session; session = session->next)
        if (session->detached && !session->over)
            json_array_insert_new(list, 0, describe(session));
    return list;
}

int detached_signal(Sessions *sessions, const json_t *request, Error *error) {
    Session *session;
    uint64_t number = 15;
    int r = find_asked(sessions, request, &session, error);
    if (r == 0)
        r = json_opt_u64("the request", request, "signal", &number, error);
    if (r < 0)
        return r;
    if (number < 1 || number > 64)
        return error_set(error, ERROR_USAGE, 0, "there is no signal %llu",
                         (unsigned long long)number);
    if (session->detached->ended)
        return error_set(error, ERROR_CONFLICT, 0, "the command has ended already");
    r = session_send_signal(session, (int)number);
    return r < 0 ? error_set(error, ERROR_GUEST_NOT_READY, -r, "the guest does not read") : 0;
}
