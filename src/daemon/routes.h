/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_ROUTES_H
#define RAMET_DAEMON_ROUTES_H

#include "daemon/request.h"

/* Each row's handler. Never NULL. */
RequestHandler routes_handler(ApiId id);

#endif
