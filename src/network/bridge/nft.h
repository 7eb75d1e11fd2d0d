/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_NFT_H
#define RAMET_NETWORK_BRIDGE_NFT_H

/* nftables by libnftables: commands as text, which together are one transaction. One context, for
 * one thread at a time. */

#include "base/error.h"

typedef struct Nft Nft;

int nft_open(Nft **nft, Error *error);
void nft_close(Nft *nft); /* NULL is fine */

/* All of the commands, or none. The error's errnum: ENOENT: a table or set is not there; EEXIST:
 * an element is there with another value; else EINVAL. */
int nft_run(Nft *nft, const char *commands, Error *error);

#endif
