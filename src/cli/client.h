/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_CLIENT_H
#define RAMET_CLI_CLIENT_H

/* Calls of the API by the table's ids, with the daemon started when none answers. */

#include "proto/api/api.h"
#include "proto/api/http_client.h"

/* Connects; starts rametd first when nobody listens (daemon_start.h). */
int client_connect(int *fd, Error *error);

/* Connects and starts nothing. ERROR_NOT_FOUND when no daemon runs. */
int client_connect_running(int *fd, Error *error);

/* One call with a JSON answer. argument, query, body (borrowed) and answer may be NULL. Operations
 * that stream events show them as progress. */
int client_call(ApiId id, const char *argument, const char *query, const json_t *body,
                json_t **answer, Error *error);

/* The same with a file as body: read from body_fd to its end. */
int client_upload(ApiId id, const char *query, int body_fd, json_t **answer, Error *error);

/* Upgrades a new connection to the client's stream. */
int client_upgrade(ApiId id, const char *argument, const json_t *body, int *fd, Error *error);

#endif
