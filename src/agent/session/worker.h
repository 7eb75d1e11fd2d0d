/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_SESSION_WORKER_H
#define RAMET_AGENT_SESSION_WORKER_H

#include "agent/session/request_stream.h"

/* Slow work in a child of the agent: straight-line blocking code, while the agent itself goes on
 * answering. `in` and `out` are the child's ends of the stream's data, or -1. */
typedef void (*WorkerFunction)(void *data, int in, int out, Result *result);

/* Starts the function in a child; the stream then has its pid and descriptors. 0 or a negative
 * errno. */
int worker_start(Stream *stream, bool takes_input, bool gives_output, WorkerFunction function,
                 void *data);

#endif
