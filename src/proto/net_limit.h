/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_NET_LIMIT_H
#define RAMET_PROTO_NET_LIMIT_H

/* What each of a VM's cards may use of its network. As a text, in rows and from clients, it is
 * in=RATE,out=RATE,packets=N,connections=N: any of them, each once; "": no limit. A number may end
 * with k, M or G (powers of 1000). */

#include "base/json.h"

#define NET_CONNECTIONS_MAX 65535u

typedef struct NetLimit {
    uint64_t in_bps; /* bits a second, to the guest; 0: no limit, as in the others */
    uint64_t out_bps;
    uint64_t packets;     /* a second, each way */
    uint64_t connections; /* to outside, at a time */
} NetLimit;

/* ERROR_USAGE */
int net_limit_parse(const char *text, NetLimit *limit, Error *error);

/* The text, the caller's. */
char *net_limit_format(const NetLimit *limit);

/* Is there none at all? */
bool net_limit_is_none(const NetLimit *limit);

/* {"in_bits","out_bits","packets","connections"}, the caller's; null: none. */
json_t *net_limit_to_json(const NetLimit *limit);

#endif
