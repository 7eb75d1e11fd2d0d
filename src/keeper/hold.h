/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_HOLD_H
#define RAMET_KEEPER_HOLD_H

#include "base/error.h"

/* The memory holder (proto/holder.h). Runs until it is to end. Both descriptors become its own. */
int hold_run(int listen_fd, int folder_fd, Error *error);

#endif
