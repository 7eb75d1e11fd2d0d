/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_ADDRESSES_H
#define RAMET_MACHINE_ADDRESSES_H

#include "store/vms.h"

/* Gives the cards of a row that is not inserted yet their addresses; the first card's MAC address
 * is drawn when the row is inserted (vm_insert_row). */
void vm_plan_addresses(VmRow *row);

#endif
