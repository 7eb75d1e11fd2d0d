/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_PORTS_TABLE_H
#define RAMET_SWITCH_PORTS_TABLE_H

/* Which port has a MAC, an address, an id or a name. */

#include "switch/ports/switch.h"

/* A port that is in its slot, and whose keys no other has; and before it leaves that or its lease
 * changes. */
void table_add(Switch *net, const Port *port);
void table_remove(Switch *net, const Port *port);

/* NULL: none. IPv6 also by the link-local address that a port's MAC gives. */
Port *table_find_mac(const Switch *net, const uint8_t mac[6]);
Port *table_find_ip(const Switch *net, const uint8_t ip[4]);
Port *table_find_ip6(const Switch *net, const uint8_t ip6[16]);

/* By a lease's id, and by a VM's name in lower case. */
Port *table_find_id(const Switch *net, const char *id);
Port *table_find_name(const Switch *net, const char *name);

#endif
