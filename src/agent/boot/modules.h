/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_BOOT_MODULES_H
#define RAMET_AGENT_BOOT_MODULES_H

/* Loads the kernel modules of /modules, in the order of the file /modules/order (one file name a
 * line). One that fails is reported and the others still are tried: a kernel may have it built in.
 */
void modules_load(void);

#endif
