/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_LIMIT_H
#define RAMET_NETWORK_LIMIT_H

#include "home/home.h"
#include "store/vms.h"

/* Tells the switches that run the limits of the VM's ports, if it has such. */
int network_limit_vm(Home *home, const VmRow *vm, Error *error);

/* Tells a switch (a connection to it) the limits of a port. */
int network_limit_port(int fd, const VmRow *vm, size_t card, Error *error);

#endif
