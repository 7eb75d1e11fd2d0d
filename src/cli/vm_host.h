/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_VM_HOST_H
#define RAMET_CLI_VM_HOST_H

/* A VM as a host that ssh connects to: NAME.ramet. */

#define VM_HOST_SUFFIX ".ramet"

/* The VM's name in a host's; NULL: it is none. The caller owns it. */
char *vm_host_name(const char *host);

#endif
