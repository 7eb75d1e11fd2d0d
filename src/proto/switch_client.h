/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_SWITCH_CLIENT_H
#define RAMET_PROTO_SWITCH_CLIENT_H

/* Requests to a ramet-switch (proto/switch.h) over a connected socket: each sends one message and
 * waits for its answer. What the switch refuses is its error, as it said it. A switch that is gone,
 * or silent for SWITCH_CLIENT_TIMEOUT_USEC, is ERROR_FAILED or ERROR_TIMEOUT: the connection is of
 * no use then. Descriptors that are passed stay the caller's. A connection is for one thread at a
 * time. */

#include "proto/switch_message.h"

#define SWITCH_CLIENT_TIMEOUT_USEC (10u * 1000u * 1000u)

/* A connected socket to the one that listens at a path. */
int switch_client_connect(const char *path, int *fd, Error *error);

/* ERROR_UNSUPPORTED for another version of the protocol. pid may be NULL. */
int switch_client_hello(int fd, uint64_t *pid, Error *error);

/* The whole of it, as it is to be from now on. */
int switch_client_set_network(int fd, const SwitchNetwork *network, Error *error);

/* Each of the outputs may be NULL. */
int switch_client_get_network(int fd, SwitchNetwork *network, SwitchCounters *counters,
                              SwitchImpair *impair, bool *held, Error *error);

/* port_fd: -1 for a known port that keeps its socket. impair, limit: what a new port begins with;
 * NULL: none. A switch of an earlier version does not heed them. */
int switch_client_set_port(int fd, const SwitchPort *port, const SwitchImpair *impair,
                           const SwitchLimit *limit, int port_fd, Error *error);
int switch_client_remove_port(int fd, const char *id, Error *error);

/* Calls for each port, in the order in which they were added. */
int switch_client_list_ports(int fd, SwitchItemHandler handler, void *data, Error *error);

/* Of a forward that is removed only where it listens matters. */
int switch_client_add_forward(int fd, const SwitchForward *forward, int socket_fd, Error *error);
int switch_client_remove_forward(int fd, const SwitchForward *forward, Error *error);
int switch_client_list_forwards(int fd, SwitchItemHandler handler, void *data, Error *error);

/* id NULL: the whole network, in this and the next. */
int switch_client_impair(int fd, const char *id, const SwitchImpair *impair, Error *error);
int switch_client_capture(int fd, const char *id, int output_fd, uint64_t *capture, Error *error);
int switch_client_capture_from(int fd, uint64_t capture, int packet_fd, Error *error);
int switch_client_end_capture(int fd, uint64_t capture, uint64_t *captured, uint64_t *lost,
                              Error *error);

/* See SWITCH_NAMES. */
int switch_client_set_names(int fd, int names_fd, Error *error);

/* Of one port. ERROR_UNSUPPORTED: a switch of an earlier version. */
int switch_client_limit(int fd, const char *id, const SwitchLimit *limit, Error *error);

/* See SWITCH_HOLD, SWITCH_RELEASE and SWITCH_QUIT. */
int switch_client_hold(int fd, Error *error);
int switch_client_release(int fd, bool discard, Error *error);
int switch_client_quit(int fd, Error *error);

#endif
