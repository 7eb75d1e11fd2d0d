/* SPDX-License-Identifier: Apache-2.0 */
#include "network/bridge/limit_rules.h"

/* What comes at once may be an eighth of a second's, and some frames in any case: TCP sends in
 * bursts, and a rate that is kept to the frame would be a fraction of it. */
#define BURST_PARTS 8
#define BURST_BYTES_LEAST (64 * KIB)
#define BURST_PACKETS_LEAST 32

#define RATE_SIZE 96

static void change(const char *table, const char *tap, const char *map, const char *rate,
                   bool remove, StrBuf *text) {
    if (!*rate)
        return;
    strbuf_add_format(text, "add limit bridge %s %s/%s { %s ; }\n", table, tap, map, rate);
    strbuf_add_format(text, "add element bridge %1$s %3$s { \"%2$s\" : \"%2$s/%3$s\" }\n", table,
                      tap, map);
    if (!remove)
        return;
    strbuf_add_format(text, "delete element bridge %s %s { \"%s\" }\n", table, map, tap);
    strbuf_add_format(text, "delete limit bridge %s %s/%s\n", table, tap, map);
}

static void bits_rate(uint64_t bps, char rate[RATE_SIZE]) {
    unsigned long long bytes = MAX_OF(bps / 8, (uint64_t)1);
    *rate = '\0';
    if (bps)
        (void)snprintf(rate, RATE_SIZE, "rate over %llu bytes/second burst %llu bytes", bytes,
                       MAX_OF(bytes / BURST_PARTS, (unsigned long long)BURST_BYTES_LEAST));
}

static void packets_rate(uint64_t packets, char rate[RATE_SIZE]) {
    *rate = '\0';
    if (packets)
        (void)snprintf(
            rate, RATE_SIZE, "rate over %llu/second burst %llu packets",
            (unsigned long long)packets,
            (unsigned long long)MAX_OF(packets / BURST_PARTS, (uint64_t)BURST_PACKETS_LEAST));
}

static void change_all(const char *table, const char *tap, const NetLimit *limit, bool remove,
                       StrBuf *text) {
    char in[RATE_SIZE], out[RATE_SIZE], packets[RATE_SIZE];
    bits_rate(limit->in_bps, in);
    bits_rate(limit->out_bps, out);
    packets_rate(limit->packets, packets);
    change(table, tap, "bits_in", in, remove, text);
    change(table, tap, "bits_out", out, remove, text);
    change(table, tap, "packets_in", packets, remove, text);
    change(table, tap, "packets_out", packets, remove, text);
}

void limit_rules_add(const char *table, const char *tap, const NetLimit *limit, StrBuf *text) {
    change_all(table, tap, limit, false, text);
}

void limit_rules_remove(const char *table, const char *tap, const NetLimit *limit, StrBuf *text) {
    change_all(table, tap, limit, true, text);
}
