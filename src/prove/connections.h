/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROVE_CONNECTIONS_H
#define RAMET_PROVE_CONNECTIONS_H

#include <stddef.h>

/* What guests say of their TCP connections (/proc/net/tcp and tcp6, proc(5)). It is hostile. */

/* Of the VMs of one lab, what each said. Returns how many connections are between two of them;
 * *broken: what to say of one that only one end knows, the caller's, or NULL. */
size_t connections_check(const char *const *texts, size_t count, char **broken);

#endif
