/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/probe.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/str.h"
#include "network/bridge/host_forwarding.h"
#include "network/bridge/line.h"
#include "network/bridge/link.h"
#include "network/bridge/nft.h"
#include "network/bridge/rules.h"

typedef struct Probe {
    const BridgeNames *names; /* borrowed */
    pthread_mutex_t *nft;     /* borrowed */
    Error *error;             /* borrowed */
    int result;
} Probe;

static int lacks(Error *error, const char *what, const char *why) {
    error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "this host has no %s: %s", what, why);
    error_set_hint(error, "leave --backend out: ramet-switch needs none of it");
    return -ENOTSUP;
}

static int try_bridge(const Probe *probe) {
    const uint8_t mac[6] = {2, 0x52};
    unsigned index;
    int r = link_make_bridge("ramet", mac, &index);
    return r < 0 ? lacks(probe->error, "bridges", strerror(-r)) : 0;
}

static int try_rules(const Probe *probe) {
    _cleanup_(strbuf_free) StrBuf text = {0};
    _cleanup_error_ Error failure = ERROR_INIT;
    Nft *nft = NULL;
    rules_add_tables(probe->names->table, probe->names->tap_prefix, &text);
    int r = nft_open(&nft, &failure);
    if (r >= 0)
        r = nft_run(nft, text.data, &failure);
    nft_close(nft);
    return r < 0 ? lacks(probe->error, "nftables as bridges need them", error_message(&failure))
                 : 0;
}

static int try_rules_locked(const Probe *probe) {
    if (probe->nft)
        (void)pthread_mutex_lock(probe->nft);
    int r = try_rules(probe);
    if (probe->nft)
        (void)pthread_mutex_unlock(probe->nft);
    return r;
}

static int try_latency(const Probe *probe) {
    return line_probe(probe->names, &(ShapeLine){.latency_usec = 1000}, probe->error);
}

static void *probe_thread(void *data) {
    Probe *probe = data;
    if (unshare(CLONE_NEWNET) == 0) {
        probe->result = try_bridge(probe);
        if (probe->result >= 0)
            probe->result = try_rules_locked(probe);
    }
    if (probe->result >= 0)
        probe->result = try_latency(probe);
    return NULL;
}

int bridge_probe(const BridgeNames *names, pthread_mutex_t *nft, Error *error) {
    Probe probe = {.names = names, .nft = nft, .error = error};
    pthread_t thread;
    int r = host_check_bridges(error);
    if (r < 0)
        return r;
    r = -pthread_create(&thread, NULL, probe_thread, &probe);
    if (r < 0)
        return error_set_errno(error, -r, "cannot start a thread");
    (void)pthread_join(thread, NULL);
    return probe.result;
}
