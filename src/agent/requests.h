/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_REQUESTS_H
#define RAMET_AGENT_REQUESTS_H

#include "agent/session/session.h"

/* Carries out a request frame (SessionRequest). Unknown ones are answered with ENOSYS, so that a
 * newer keeper learns what this agent cannot do. */
void requests_handle(Session *session, const Frame *frame);

#endif
