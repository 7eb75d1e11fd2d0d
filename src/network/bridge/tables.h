/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_TABLES_H
#define RAMET_NETWORK_BRIDGE_TABLES_H

/* The home's tables of nftables, as they are now. What is missing of them is said again: all
 * networks of the store, and all cards that are attached. The mutex is held, but for the last. */

#include "network/bridge/bridge_inside.h"

/* One transaction, as it is. */
int tables_run(Bridges *bridges, const char *commands, Error *error);

/* One transaction. Where the tables are gone, all of it is said again first. */
int tables_tell_locked(Home *home, const char *commands, Error *error);

/* The tables anew, with all that is known. */
int tables_tell_all(Home *home, Error *error);

/* The rules of a card that is attached, added to the text. */
void tables_add_card(const Bridges *bridges, const Tap *tap, StrBuf *text);

/* The same as tables_tell_locked, with the mutex. */
int tables_tell(Home *home, const char *commands, Error *error);

#endif
