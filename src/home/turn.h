/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_TURN_H
#define RAMET_HOME_TURN_H

/* What several may want at once, and one makes for all: who has the lock of it looks whether it is
 * there by now, and makes it where it is not. */

#include "base/error.h"
#include "home/home.h"

/* Waits for the lock WHAT-KEY of the home, for as long as it takes, or until cancel_fd
 * (ERROR_CANCELLED). Returns 0 and the descriptor in *lock_fd: closing it ends the turn. */
int home_wait_for_turn(const Home *home, const char *what, const char *key, int cancel_fd,
                       int *lock_fd, Error *error);

#endif
