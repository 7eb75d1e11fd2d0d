/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VERBS_RECONCILE_H
#define RAMET_VERBS_RECONCILE_H

#include "home/home.h"

/* Makes the store and the world agree again (verbs/reconcile.c), in two parts: the first, once,
 * after open and before the first request; the second, which may take long, in a thread of its own
 * that home_close ends. Failures are logged and do not stop it. */
void home_reconcile_begin(Home *home);
void home_reconcile_later(Home *home);

/* Waits for the end of the second part, at most so long: as a rule it is over in a moment, and
 * nobody need see what was before. */
void home_await_reconciled(Home *home, uint64_t timeout_usec);

/* For tests: both, or the second, until their end. The number of failures comes back. */
size_t home_reconcile_finish(Home *home);
size_t home_reconcile(Home *home);

#endif
