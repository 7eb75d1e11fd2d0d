/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_SSH_IDENTITY_H
#define RAMET_HOME_SSH_IDENTITY_H

/* The key by which whoever has this home gets into its VMs: HOME/ssh/id_ed25519 and its .pub. */

#include "base/ssh_key.h"
#include "home/home.h"

/* Its public part, a line without the newline. The pair is made when it is not there yet. */
int ssh_identity_ensure(const Home *home, char public_key[SSH_PUBLIC_KEY_SIZE], Error *error);

#endif
