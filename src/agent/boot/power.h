/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_BOOT_POWER_H
#define RAMET_AGENT_BOOT_POWER_H

#include <signal.h>

#include "agent/session/session.h"

/* The orderly end of the machine. As PID 1: ends all processes, writes everything out and powers
 * off; does not return. Else asks the init that there is, and returns. */
void power_act(PowerAction action, bool is_init);

/* What programs tell PID 1 by signals. power_add_signals puts them into the set; power_of_signal
 * says what one of them asks for, POWER_NONE for any other. */
void power_add_signals(sigset_t *set);
PowerAction power_of_signal(int number);

/* At once, without an orderly end: the machine never got ready. */
void power_off_now(void) __attribute__((noreturn));

#endif
