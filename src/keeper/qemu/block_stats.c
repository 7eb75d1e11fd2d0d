/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/qemu/block_stats.h"

#include <errno.h>

#include "base/clock.h"

static const struct {
    const char *ours, *qemus;
} counters[] = {
    {"read_bytes", "rd_bytes"},
    {"read_operations", "rd_operations"},
    {"write_bytes", "wr_bytes"},
    {"write_operations", "wr_operations"},
    {"flush_operations", "flush_operations"},
};

/* A hostile QEMU may say anything; the sum stays a number that JSON has. */
static json_int_t add(json_int_t sum, const json_t *value) {
    json_int_t number = json_integer_value(value);
    return number < 0 || sum > INT64_MAX - number ? INT64_MAX : sum + number;
}

static json_int_t sum_of(const json_t *answer, const char *name) {
    json_int_t sum = 0;
    const json_t *disk;
    size_t i;
    json_array_foreach(answer, i, disk) sum =
        add(sum, json_object_get(json_object_get(disk, "stats"), name));
    return sum;
}

int block_stats_sum(const json_t *answer, json_t **stats, Error *error) {
    if (!json_is_array(answer))
        return error_set(error, ERROR_CORRUPT, EBADMSG, "QEMU's counters of its disks are no list");
    json_t *made = json_object();
    for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
        (void)json_object_set_new(made, counters[i].ours,
                                  json_integer(sum_of(answer, counters[i].qemus)));
    *stats = made;
    return 0;
}
