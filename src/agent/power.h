/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_POWER_H
#define RAMET_AGENT_POWER_H

#include "agent/session.h"

/* The orderly end of the machine. As PID 1: ends all processes, writes everything out and powers
 * off; does not return. Else asks the init that there is, and returns. */
void power_act(PowerAction action, bool is_init);

/* At once, without an orderly end: the machine never got ready. */
void power_off_now(void) __attribute__((noreturn));

#endif
