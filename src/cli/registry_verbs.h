/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_REGISTRY_VERBS_H
#define RAMET_CLI_REGISTRY_VERBS_H

/* What push and pull of images and snapshots share. */

#include "base/json.h"
#include "cli/args.h"
#include "proto/api/api.h"

#define REGISTRY_INSECURE                                                                  \
    {                                                                                      \
        0, "insecure", ARG_FLAG,                                                           \
            .help = "a registry that speaks http, or whose certificate nobody vouches for" \
    }

#define REGISTRY_AUTHFILE \
    { 0, "authfile", ARG_FILE, .help = "credentials; those of podman and skopeo when absent" }

#define REGISTRY_TLS                                                         \
    {                                                                        \
        0, "tls-verify", ARG_CHOICE, "true|false",                           \
            .choices = "true|false",                                         \
            .help = "false: plain HTTP, or a certificate that nobody signed" \
    }

/* Exports, and pushes what came out. kind: "image", "snapshot". query may be NULL. */
int registry_push_verb(const Args *args, ApiId id, const char *kind, const char *query,
                       Error *error);

/* Adds reference, name and authfile of a pull to its request. */
int registry_add_reference(const Args *args, json_t *request, Error *error);

#endif
