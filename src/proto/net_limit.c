/* SPDX-License-Identifier: Apache-2.0 */

#include "proto/net_limit.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/str.h"
#include "proto/pairs.h"

/* Less than a frame a second is a cut, which has a verb of its own. */
static const struct {
    const char *name;
    size_t offset;
    uint64_t least, most;
} members[] = {
    {"in", offsetof(NetLimit, in_bps), 12000, UINT64_C(1000000000000)},
    {"out", offsetof(NetLimit, out_bps), 12000, UINT64_C(1000000000000)},
    {"packets", offsetof(NetLimit, packets), 1, 1000000000},
    {"connections", offsetof(NetLimit, connections), 1, NET_CONNECTIONS_MAX},
};

static uint64_t scale_of(char unit) {
    return unit == 'k' || unit == 'K' ? 1000 : unit == 'M' ? 1000000 : unit == 'G' ? 1000000000 : 0;
}

static int parse_number(const char *text, uint64_t most, uint64_t *value) {
    size_t size = strlen(text);
    uint64_t scale = size > 0 ? scale_of(text[size - 1]) : 0, number;
    _cleanup_free_ char *digits = str_format("%.*s", (int)(size - (scale > 0)), text);
    int r = parse_u64(digits, most, &number);
    if (r < 0)
        return r;
    if (scale > 1 && number > most / scale)
        return -ERANGE;
    *value = scale ? number * scale : number;
    return 0;
}

static uint64_t *member_of(NetLimit *limit, size_t i) {
    return (uint64_t *)((char *)limit + members[i].offset);
}

static int set_member(void *data, const char *name, const char *text, Error *error) {
    NetLimit *limit = data;
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        uint64_t *value = member_of(limit, i), number = 0;
        if (!str_equal(name, members[i].name))
            continue;
        if (*value != 0)
            return error_set(error, ERROR_USAGE, EINVAL, "the limit %s= was given twice", name);
        if (parse_number(text, members[i].most, &number) < 0 || number < members[i].least)
            return error_set(error, ERROR_USAGE, EINVAL,
                             "the limit %s=%.40s is no number from %llu to %llu, such as 10M", name,
                             text, (unsigned long long)members[i].least,
                             (unsigned long long)members[i].most);
        *value = number;
        return 0;
    }
    return error_set(error, ERROR_USAGE, EINVAL,
                     "\"%.40s\" is no limit (in=RATE, out=RATE, packets=N, connections=N)", name);
}

int net_limit_parse(const char *text, NetLimit *limit, Error *error) {
    NetLimit made = {0};
    int r = pairs_parse(text, set_member, &made, error);
    if (r >= 0)
        *limit = made;
    return r;
}

char *net_limit_format(const NetLimit *limit) {
    NetLimit copy = *limit;
    StrBuf text = {0};
    for (size_t i = 0; i < ARRAY_SIZE(members); i++)
        if (*member_of(&copy, i))
            strbuf_add_format(&text, "%s%s=%llu", text.size ? "," : "", members[i].name,
                              (unsigned long long)*member_of(&copy, i));
    return strbuf_steal(&text);
}

bool net_limit_is_none(const NetLimit *limit) {
    return !limit->in_bps && !limit->out_bps && !limit->packets && !limit->connections;
}

static json_t *number_or_null(uint64_t number) {
    return number ? json_integer((json_int_t)number) : json_null();
}

json_t *net_limit_to_json(const NetLimit *limit) {
    if (net_limit_is_none(limit))
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o}", "in_bits", number_or_null(limit->in_bps), "out_bits",
                     number_or_null(limit->out_bps), "packets", number_or_null(limit->packets),
                     "connections", number_or_null(limit->connections));
}
