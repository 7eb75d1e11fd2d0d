/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of QEMU's counters, as query-blockstats of QEMU 7.2 answers. */
#include "keeper/qemu/block_stats.h"

#include <stdint.h>

#include "check.h"

#define DISK(reads, writes)                                                                    \
    "{\"device\": \"\", \"qdev\": \"/machine/peripheral/disk0\", \"stats\": {\"rd_bytes\": "   \
    "" reads ", \"rd_operations\": 7, \"wr_bytes\": " writes ", \"wr_operations\": 9, "        \
    "\"flush_operations\": 2, \"unmap_bytes\": 4096}, \"backing\": {\"stats\": {\"rd_bytes\":" \
    " 123}}}"

static json_int_t member(const json_t *stats, const char *name) {
    return json_integer_value(json_object_get(stats, name));
}

static json_t *sum(const char *text) {
    json_t *answer = json_loads(text, 0, NULL), *stats = NULL;
    CHECK(answer);
    CHECK_INT(block_stats_sum(answer, &stats, NULL), 0);
    json_decref(answer);
    return stats;
}

static void test_sums(void) {
    json_t *stats = sum("[" DISK("4096", "512") ", " DISK("8192", "0") "]");
    CHECK_INT(member(stats, "read_bytes"), 12288);
    CHECK_INT(member(stats, "read_operations"), 14);
    CHECK_INT(member(stats, "write_bytes"), 512);
    CHECK_INT(member(stats, "write_operations"), 18);
    CHECK_INT(member(stats, "flush_operations"), 4);
    CHECK_INT(json_object_size(stats), 5);
    json_decref(stats);
}

static void test_odd_answers(void) {
    json_t *stats = sum("[]"), *answer = json_object();
    CHECK_INT(member(stats, "read_bytes"), 0);
    json_decref(stats);
    stats = sum("[1, {}, {\"stats\": []}, {\"stats\": {\"rd_bytes\": \"x\"}}]");
    CHECK_INT(member(stats, "read_bytes"), 0);
    json_decref(stats);
    stats = sum("[" DISK("9223372036854775807", "-1") ", " DISK("1", "1") "]");
    CHECK_INT(member(stats, "read_bytes"), INT64_MAX);
    CHECK_INT(member(stats, "write_bytes"), INT64_MAX);
    json_decref(stats);
    stats = NULL;
    CHECK(block_stats_sum(answer, &stats, NULL) < 0);
    CHECK(!stats);
    json_decref(answer);
}

int main(void) {
    RUN(test_sums);
    RUN(test_odd_answers);
    return 0;
}
