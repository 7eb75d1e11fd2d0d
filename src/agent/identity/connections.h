/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_IDENTITY_CONNECTIONS_H
#define RAMET_AGENT_IDENTITY_CONNECTIONS_H

#include <stddef.h>
#include <stdint.h>

/* TCP connections of the guest's programs. Those of a snapshot are its source's, and go on there. A
 * clone with another address cannot even say so to the other side, since a kernel sends nothing
 * from an address that it has not, and its programs would wait for a quarter of an hour. */

/* Before a snapshot: takes hold of the sockets, so that a clone has them at hand. */
void connections_prepare(void);

/* Those from that address (of 4 or 16 bytes) end: who uses them finds ECONNRESET, and a thread that
 * waits in one of them EPIPE, with some kernels the end of the stream. The card must have lost the
 * address before, so that nothing goes out to the other side, which is the source's. */
void connections_reset(const uint8_t *address, size_t size);

/* Takes each one's lock and gives it back. */
void connections_take_locks(void);

/* Lets go of them. */
void connections_forget(void);

#endif
