/* SPDX-License-Identifier: Apache-2.0 */

#include "home/limits.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "proto/pairs.h"

#define WHAT "the specification"
#define CPU_LEAST 50 /* thousandths: with less QEMU does not even answer in time */
#define CPU_MOST (1024 * 1000)
#define MEMORY_LEAST (64 * MIB) /* QEMU and keeper alone take half of that */
#define MEMORY_MOST (INT64_MAX / 2)
#define PIDS_LEAST 32
#define PIDS_MOST 4194304
#define IO_BYTES_LEAST (64 * KIB)
#define IO_MOST INT64_C(1000000000000000) /* QEMU's own bound */

/* ---- CPUs ---- */

/* Thousandths of what has up to three decimals. */
static int parse_decimal(const char *text, uint64_t *thousandths) {
    _cleanup_free_ char *whole = str_copy(text), *digits = NULL;
    uint64_t number, rest = 0;
    char *point = strchr(whole, '.');
    if (point)
        *point++ = '\0';
    if (point && (strlen(point) == 0 || strlen(point) > 3))
        return -EINVAL;
    digits = str_format("%s%.*s", point ? point : "000", point ? 3 - (int)strlen(point) : 0, "00");
    if (parse_u64(whole, CPU_MOST, &number) < 0 || parse_u64(digits, 999, &rest) < 0)
        return -EINVAL;
    *thousandths = number * 1000 + rest;
    return 0;
}

static int read_cpus(const json_t *json, uint64_t *thousandths, Error *error) {
    const char *text = NULL;
    uint64_t number = 0;
    int r = json_opt_string(WHAT, json, "cpu_limit", &text, error);
    if (r < 0 || !text)
        return r;
    if (*text && parse_decimal(text, &number) < 0)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "the limit \"%.40s\" is no number of CPUs, such as 0.5", text);
    if (number && (number < CPU_LEAST || number > CPU_MOST))
        return error_set(error, ERROR_USAGE, ERANGE,
                         "the limit of %.40s CPUs is not within 0.05 … %d", text, CPU_MOST / 1000);
    *thousandths = number;
    return 0;
}

/* ---- disks ---- */

static const struct {
    const char *name;
    size_t offset;
    uint64_t least;
    bool size; /* 10M */
} members[] = {
    {"bytes", offsetof(VmLimits, io_bytes), IO_BYTES_LEAST, true},
    {"ops", offsetof(VmLimits, io_ops), 1, false},
};

static int set_member(void *data, const char *name, const char *text, Error *error) {
    VmLimits *limits = data;
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        uint64_t *value = (uint64_t *)((char *)limits + members[i].offset), number = 0;
        if (!str_equal(name, members[i].name))
            continue;
        if (*value)
            return error_set(error, ERROR_USAGE, EINVAL, "the limit %s= was given twice", name);
        int r = members[i].size ? parse_size(text, &number) : parse_u64(text, IO_MOST, &number);
        if (r < 0 || number < members[i].least || number > IO_MOST)
            return error_set(error, ERROR_USAGE, EINVAL,
                             "the limit %s=%.40s is no number of %llu or more, such as %s", name,
                             text, (unsigned long long)members[i].least,
                             members[i].size ? "10M" : "500");
        *value = number;
        return 0;
    }
    return error_set(error, ERROR_USAGE, EINVAL,
                     "\"%.40s\" is no limit of disks (bytes=SIZE, ops=N)", name);
}

static int read_io(const json_t *json, VmLimits *limits, Error *error) {
    const char *text = NULL;
    VmLimits made = {0};
    int r = json_opt_string(WHAT, json, "io_limit", &text, error);
    if (r >= 0 && text && !str_equal(text, "0"))
        r = pairs_parse(text, set_member, &made, error);
    if (r < 0 || !text)
        return r;
    limits->io_bytes = made.io_bytes;
    limits->io_ops = made.io_ops;
    return 0;
}

/* ---- all of them ---- */

static int read_memory(const json_t *json, uint64_t *bytes, Error *error) {
    const char *text = NULL;
    uint64_t number = 0;
    int r = json_opt_string(WHAT, json, "memory_limit", &text, error);
    if (r < 0 || !text)
        return r;
    if (*text && !str_equal(text, "0") &&
        (parse_size(text, &number) < 0 || number < MEMORY_LEAST || number > MEMORY_MOST)) {
        error_set(error, ERROR_USAGE, EINVAL, "the limit \"%.40s\" is no size of memory", text);
        error_set_hint(error, "64M is the least; beside the guest's memory QEMU needs some");
        return -EINVAL;
    }
    *bytes = number;
    return 0;
}

static int read_pids(const json_t *json, uint64_t *pids, Error *error) {
    uint64_t number = *pids;
    int r = json_opt_u64(WHAT, json, "pids_limit", &number, error);
    if (r < 0)
        return r;
    if (number && (number < PIDS_LEAST || number > PIDS_MOST))
        return error_set(error, ERROR_USAGE, ERANGE,
                         "the limit of processes is not within %d … %d: QEMU has threads for "
                         "virtual CPUs, disks and itself",
                         PIDS_LEAST, PIDS_MOST);
    *pids = number;
    return 0;
}

int vm_limits_parse(const json_t *json, VmLimits *limits, Error *error) {
    VmLimits made = *limits;
    int r = read_cpus(json, &made.cpu_thousandths, error);
    if (r >= 0)
        r = read_memory(json, &made.memory_bytes, error);
    if (r >= 0)
        r = read_pids(json, &made.pids, error);
    if (r >= 0)
        r = read_io(json, &made, error);
    if (r >= 0)
        *limits = made;
    return r;
}

static json_t *number_or_null(uint64_t number) {
    return number ? json_integer((json_int_t)number) : json_null();
}

json_t *vm_limits_describe(const VmLimits *limits) {
    uint64_t cpus = limits->cpu_thousandths;
    if (vm_limits_are_none(limits))
        return json_null();
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o}", "cpus", cpus ? json_real((double)cpus / 1000) : json_null(),
        "memory_bytes", number_or_null(limits->memory_bytes), "pids", number_or_null(limits->pids),
        "io_bytes", number_or_null(limits->io_bytes), "io_ops", number_or_null(limits->io_ops));
}
