/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_REGISTRY_VERBS_H
#define RAMET_CLI_REGISTRY_VERBS_H

/* What push and pull of images and snapshots share. */

#include "base/json.h"
#include "cli/args.h"
#include "proto/api/api.h"

/* --insecure and --tls-verify=false say the same, as podman and docker do. */
#define REGISTRY_OPTIONS                                                                       \
    {0, "insecure", ARG_FLAG,                                                                  \
     .help = "a registry that speaks http, or whose certificate nobody vouches for"},          \
        {0,                                                                                    \
         "tls-verify",                                                                         \
         ARG_CHOICE,                                                                           \
         "true|false",                                                                         \
         .choices = "true|false",                                                              \
         .help = "false: the same as --insecure"},                                             \
    {                                                                                          \
        0, "authfile", ARG_FILE, .help = "credentials; those of podman and skopeo when absent" \
    }

/* Is the registry one of --insecure? */
bool registry_is_insecure(const Args *args);

/* Exports, and pushes what came out. kind: "image", "snapshot". query may be NULL. */
int registry_push_verb(const Args *args, ApiId id, const char *kind, const char *query,
                       Error *error);

/* Adds reference, name, authfile and trust of a pull to its request. */
int registry_add_reference(const Args *args, json_t *request, Error *error);

#endif
