/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_IDENTITY_AUTHORIZED_KEYS_H
#define RAMET_AGENT_IDENTITY_AUTHORIZED_KEYS_H

#include "agent/base/util.h"

#define AUTHORIZED_KEYS_SIZE 4096

/* Who may log in by SSH. */
typedef struct Logins {
    char home_key[192];              /* a line, for guests with a server */
    char keys[AUTHORIZED_KEYS_SIZE]; /* lines, for all */
    char user[256];                  /* who gets them beside root; "": nobody */
} Logins;

/* Is there anything in it that was not written by this agent before, or in the guest that it was
 * restored from? */
bool authorized_keys_are_new(const Logins *logins);

/* Remembers it as written. */
void authorized_keys_remember(const Logins *logins);

/* Adds what is missing to ~/.ssh/authorized_keys. On a read-only disk nothing is written. */
int authorized_keys_write(const Logins *logins, Result *result);

/* Before a snapshot: a server that came since the keys were remembered gets them in the clones. */
void authorized_keys_prepare(void);

#endif
