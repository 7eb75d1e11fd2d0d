/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_SWITCH_WATCH_H
#define RAMET_NETWORK_SWITCH_WATCH_H

/* One thread that waits for the ends of switches. */

#include "base/error.h"
#include "base/process/process.h"
#include "home/home.h"

/* Calls ended for a network whose switch ended, until the home closes. */
int switch_watch_start(Home *home, void (*ended)(Home *home, const char *network), Error *error);

/* Looks after this one, and reaps it when it is a child. One that is gone already is told of. */
int switch_watch_add(Home *home, const char *network, const ProcessIdentity *process, Error *error);

#endif
