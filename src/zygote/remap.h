/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_ZYGOTE_REMAP_H
#define RAMET_ZYGOTE_REMAP_H

/* In QEMU's process: lays another file under its guest's memory when the keeper asks for it
 * (remap_client.h). */

/* From here on the requests (protocol.h) that come on the socket are served, by whichever thread
 * gets ZYGOTE_REMAP_SIGNAL: in stock QEMU the first one, since all others block it. The socket
 * stays open. To be called once. 0 or a negative errno. */
int remap_serve(int socket);

#endif
