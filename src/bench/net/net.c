/* SPDX-License-Identifier: Apache-2.0 */

/* Networks. */

#include "bench/net/net_parts.h"

static const struct {
    const char *name;
    int (*run)(Bench *bench, Error *error);
} parts[] = {
    {"switch", bench_net_switch}, {"bridge", bench_net_bridge}, {"fork", bench_net_fork},
    {"guests", bench_net_guests}, {"scale", bench_net_scale},   {"lab", bench_net_lab},
};

int bench_net(Bench *bench, Error *error) {
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        int r = bench_wants(bench, parts[i].name) ? parts[i].run(bench, error) : 0;
        if (r < 0)
            return error_add_context(error, "%s", parts[i].name);
    }
    return 0;
}
