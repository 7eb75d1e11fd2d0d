/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_NOCLOUD_H
#define RAMET_IMAGE_NOCLOUD_H

/* The disk by which a guest that boots by itself gets the agent: an ISO 9660 file system with the
 * label "cidata", which cloud-init takes for its source "NoCloud":
 *
 *     user-data  meta-data  network-config     what cloud-init is to do and to leave
 *     agent  agent.service  agent.sh           the agent, its unit, and what starts it
 *
 * Nothing in it is of one VM: name, addresses and keys come from the agent. So it is shared, like
 * an initramfs: HOME/initramfs/KEY, KEY being a digest of all that is in it and ".iso". */

#include "base/error.h"
#include "image/context.h"

/* Finds or makes it for this agent. home_key: a line for the authorized_keys of the image's own
 * user. *path and *key are the caller's. Errors: ERROR_NOT_FOUND (no agent), ERROR_NO_SPACE,
 * ERROR_CANCELLED. A clone has that of its source, whose key it knows. */
int nocloud_ensure(const ImageContext *context, const char *agent_path, const char *home_key,
                   char **path, char **key, Error *error);

#endif
