/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_OUTSIDE_DNS_H
#define RAMET_SWITCH_OUTSIDE_DNS_H

/* DNS messages (RFC 1035): reading a query, and answering what is known here: NAME and
 * NAME.NETWORK.ramet, and the names of addresses of the network. */

#include "switch/ports/switch.h"

#define DNS_PORT 53
#define DNS_HEADER_SIZE 12
#define DNS_ANSWER_MAX 768 /* of our own */

typedef enum DnsCode {
    DNS_OK = 0,
    DNS_FORMAT = 1,
    DNS_FAILED = 2,
    DNS_NO_NAME = 3,
    DNS_NOT_DONE = 4,
    DNS_REFUSED = 5
} DnsCode;

typedef struct DnsQuery {
    const uint8_t *data; /* borrowed: the message */
    size_t size;
    size_t question_end; /* behind the only question; 0: there is none that could be read */
    uint16_t type, class_;
    char name[256]; /* in lower case, without the last dot; "" also for what is no text */
} DnsQuery;

/* Reads a message of a client. DNS_OK, or what to answer it with; -1 when it is to be ignored (too
 * short, or no query). */
int dns_read_query(DnsQuery *query, const uint8_t *data, size_t size);

/* The answer when it is known here, and when nobody else is to be asked. Returns its size, or 0. */
size_t dns_answer(const Switch *net, const DnsQuery *query, uint8_t *data, size_t room);

/* The answer that says no more than the code. Returns its size. */
size_t dns_refuse(const DnsQuery *query, DnsCode code, uint8_t *data, size_t room);

/* Cuts an answer that is too long to its question, so that the client asks over TCP. Returns its
 * size. */
size_t dns_truncate(uint8_t *data, size_t question_end);

#endif
