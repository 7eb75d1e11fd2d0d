/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_PROCESS_EMPTY_NETWORK_H
#define RAMET_BASE_PROCESS_EMPTY_NETWORK_H

/* Leaves the host's network for a namespace that has nothing in it; children inherit it. Neither
 * keepers nor QEMUs have anything to do with the host's: cards come as descriptors. Sockets that
 * are open, and unix sockets by their paths, work as before. 0, or a negative errno and nothing
 * has changed: -EPERM where this process may make none. */
int empty_network_enter(void);

#endif
