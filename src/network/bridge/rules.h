/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_RULES_H
#define RAMET_NETWORK_BRIDGE_RULES_H

/* What is told to nftables, as text (nft(8)). All of a home is in two tables of one name: that of
 * family `bridge` says what may come from a card, that of family `inet` what may leave a network,
 * and where to. The rules are always the same; networks, cards and forwards are elements of their
 * sets and maps, so a change is the addition or removal of elements, in one transaction.
 *
 * What is removed is added in the same transaction first, so that a removal cannot fail for what is
 * not there. */

#include "base/str.h"
#include "network/bridge/shape.h"
#include "store/networks.h"
#include "store/vms.h"

/* The tables anew, without any element: what was there goes, in the same transaction. */
void rules_add_tables(const char *table, const char *tap_prefix, StrBuf *text);
void rules_remove_tables(const char *table, StrBuf *text);

/* A network; `device` is its bridge. */
void rules_add_network(const char *table, const NetworkRow *network, const char *device,
                       StrBuf *text);
void rules_remove_network(const char *table, const NetworkRow *network, const char *device,
                          StrBuf *text);

/* A card: what may come out of its TAP device. */
void rules_add_card(const char *table, const char *tap, const VmAddress *address, StrBuf *text);
void rules_remove_card(const char *table, const char *tap, const VmAddress *address, StrBuf *text);

/* Of its shape what is lost: nothing, where it loses nothing. */
void rules_add_shape(const char *table, const char *tap, const Shape *shape, StrBuf *text);
void rules_remove_shape(const char *table, const char *tap, const Shape *shape, StrBuf *text);

/* A port of the host that leads to an address. */
void rules_add_forward(const char *table, const PortForward *forward, const char *ip, StrBuf *text);
void rules_remove_forward(const char *table, const PortForward *forward, const char *ip,
                          StrBuf *text);

#endif
