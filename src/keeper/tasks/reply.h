/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_TASKS_REPLY_H
#define RAMET_KEEPER_TASKS_REPLY_H

/* Who asked for a task, and hears of it: events, and then one answer or failure. A task that goes
 * on after its request was taken keeps the pointer, and must learn when who asked goes away
 * (reply_keep). All calls take NULL: nobody asks any more. */

#include "base/json.h"

typedef struct ReplyHandlers {
    void (*event)(void *data, const json_t *event);
    void (*answer)(void *data, const json_t *ok);
    void (*fail)(void *data, const Error *error);
} ReplyHandlers;

typedef struct Reply {
    const ReplyHandlers *handlers;        /* borrowed */
    void *data;                           /* borrowed; for the handlers */
    void (*gone)(void *task);             /* NULL: no task keeps it */
    void (*told)(void *task, bool go_on); /* NULL: the task waits for no word */
    void *task;                           /* borrowed */
} Reply;

/* gone is called when who asked goes away; until the answer or failure. */
void reply_keep(Reply *reply, void (*gone)(void *task), void *task);

/* For a task that keeps it: waits for a word of who asked, once, whether it is to go on. */
void reply_await(Reply *reply, void (*told)(void *task, bool go_on));

/* Steals the event. */
void reply_event(Reply *reply, json_t *event);

/* A stage of the task begins now. */
void reply_stage(Reply *reply, const char *name);

/* What the user should know of a success; frees it. NULL: nothing. */
void reply_note(Reply *reply, char *note);

/* Steals ok; NULL: {}. */
void reply_answer(Reply *reply, json_t *ok);
void reply_fail(Reply *reply, const Error *error);

/* For who asked: says so. -EBADMSG when nobody waits for that. */
int reply_tell(Reply *reply, bool go_on);

/* For who asked: it goes away. */
void reply_drop(Reply *reply);

#endif
