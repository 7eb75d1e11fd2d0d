/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_GUEST_AGENT_RESULT_H
#define RAMET_KEEPER_GUEST_AGENT_RESULT_H

/* The agent's RESULT, with which most requests end. All text in it is a guest's, and made fit for a
 * terminal here. */

#include <stdbool.h>

#include "base/error.h"
#include "proto/frame.h"

typedef struct AgentResult {
    uint64_t value;    /* TAG_VALUE; of FREEZE: the mailbox, or 0 */
    bool exclusive;    /* the agent has the CPU for itself (FREEZE), or had (IDENTITY) */
    bool ssh_key;      /* IDENTITY: the guest has the SSH host key that it was given */
    char why_not[160]; /* it is not so */
} AgentResult;

/* Reads the RESULT of `what` ("cannot do this"). 0 and what it carries (result may be NULL), or an
 * error of `kind` with the agent's words. */
int agent_result_read(const Frame *frame, const char *what, ErrorKind kind, AgentResult *result,
                      Error *error);

/* The same, for what nobody waits for: an error goes to the log. Takes any frame, and NULL. */
void agent_result_log_failure(const Frame *frame, const char *what);

/* What the RESULT of a success wants the user to know; NULL: nothing. The caller owns it. */
char *agent_result_note(const Frame *frame);

#endif
