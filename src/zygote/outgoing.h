/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_ZYGOTE_OUTGOING_H
#define RAMET_ZYGOTE_OUTGOING_H

/* Where a QEMU may connect to. Its user-mode network makes sockets of its guest's connections, and
 * knows no addresses that are closed to a guest: to it the host's loopback is one more host. */

/* Reads which name servers the host asks: those that listen on its loopback stay open for their
 * questions. Without it none is. */
void outgoing_prepare(void);

#endif
