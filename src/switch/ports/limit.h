/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_PORTS_LIMIT_H
#define RAMET_SWITCH_PORTS_LIMIT_H

/* What a port may send and get (SwitchLimit). Bits are limited where impairment is: frames wait up
 * to half a second for their turn. Frames in excess of their rate, and what would begin a
 * connection too many, are dropped. */

#include "switch/ports/switch.h"

/* From the next frame on. */
void limit_set(Port *port, const SwitchLimit *limit);
void limit_free(Port *port);

/* May the port send, or get, one more frame now? */
bool limit_take_out(Port *port);
bool limit_take_in(Port *port);

/* May a packet that the port sends to outside pass? One that comes from there is only noted. */
bool limit_admit(Port *port, const Packet *packet);
void limit_note(Port *port, const Packet *packet);

#endif
