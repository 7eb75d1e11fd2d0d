/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_SWITCH_MESSAGE_H
#define RAMET_PROTO_SWITCH_MESSAGE_H

/* The messages of proto/switch.h as bytes and as a struct. */

#include "base/error.h"
#include "proto/switch.h"

extern const char *const switch_drop_names[SWITCH_DROP_COUNT];

/* All that a message can carry; what an operation does not name is passed over. */
typedef struct SwitchMessage {
    uint16_t number; /* SwitchOperation or SwitchAnswer */
    SwitchNetwork network;
    SwitchPort port;
    SwitchForward forward;
    SwitchImpair impair;
    SwitchLimit limit;
    SwitchCounters counters;
    char id[SWITCH_ID_SIZE];
    uint64_t version, pid, after, capture, captured, lost;
    bool discard, held;
    char ramet[32];
    char code[32], message[512], hint[256];
    uint64_t errnum;
} SwitchMessage;

/* What goes with a message: which of its structs are written. Items of a list are messages with
 * number 0 inside of SWITCH_TAG_ITEM. */
typedef enum SwitchPart {
    SWITCH_PART_NETWORK = 1,
    SWITCH_PART_PORT = 2,
    SWITCH_PART_FORWARD = 4,
    SWITCH_PART_IMPAIR = 8,
    SWITCH_PART_COUNTERS = 16,
    SWITCH_PART_LIMIT = 64,
    SWITCH_PART_PLAIN = 32, /* the members that are in no struct */
} SwitchPart;

#define SWITCH_TAG_ITEM 2

/* Writes the message; what is zero or empty is left out. Returns its size, or -EMSGSIZE. */
int switch_message_write(const SwitchMessage *message, unsigned parts, uint8_t *buffer,
                         size_t room);

/* Adds an item to a message of `size` bytes in the buffer. Returns the new size, or -EMSGSIZE when
 * it does not fit any more: the buffer is as it was then. */
int switch_message_add_item(uint8_t *buffer, size_t size, size_t room, const SwitchMessage *item,
                            unsigned parts);

/* Reads a message; what it does not carry is zero. Unknown fields are passed over. ERROR_USAGE for
 * what is malformed or beyond its bounds; texts have been found printable. */
int switch_message_read(const uint8_t *buffer, size_t size, SwitchMessage *message, Error *error);

/* Calls for each item of a message that switch_message_read took. A negative return ends it and is
 * returned. */
typedef int (*SwitchItemHandler)(void *data, const SwitchMessage *item);
int switch_message_items(const uint8_t *buffer, size_t size, SwitchItemHandler handler, void *data,
                         Error *error);

#endif
