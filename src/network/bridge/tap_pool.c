/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/tap_pool.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/str.h"
#include "network/bridge/link.h"

#define NAME_DRAWS_MAX 16 /* of 28 random bits, and hardly any is taken */
#define FILL_THREADS 4

static int plug(const Bridges *bridges, const NetworkRow *network, const char *use,
                const Tap *tap) {
    char device[IFNAMSIZ], alias[BRIDGE_ALIAS_SIZE];
    bridge_device_name(network->id, device);
    bridge_alias(&bridges->names, network->id, use, alias);
    unsigned master = if_nametoindex(device);
    if (!master)
        return -ENODEV;
    int r = link_change(tap->index, &(LinkChange){.alias = alias, .master = master});
    return r < 0 || !network->data.isolated ? r : link_isolate(tap->index);
}

int tap_make(const Bridges *bridges, const NetworkRow *network, const char *use, Tap *tap,
             Error *error) {
    _cleanup_close_ int fd = -1;
    Tap made = {.fd = -1};
    int r = -EBUSY;
    for (int i = 0; r == -EBUSY && i < NAME_DRAWS_MAX; i++) {
        bridge_tap_name(&bridges->names, made.name);
        r = link_make_tap(made.name, &fd, &made.index);
    }
    if (r == 0)
        r = plug(bridges, network, use, &made);
    if (r < 0) {
        error_set_errno(error, -r, "cannot make a TAP device for network %s", network->name);
        if (r == -EXFULL)
            error_set_hint(error, "a bridge has 1,023 ports: make another network");
        return r;
    }
    str_set(made.network, network->id);
    str_set(made.use, use);
    made.fd = TAKE_FD(fd);
    *tap = made;
    return 0;
}

/* ---- filling ---- */

typedef struct Filling {
    Home *home;
    NetworkRow network; /* id, name and what is needed of its data */
    atomic_int left;
} Filling;

/* A network that was removed meanwhile has no bridge. */
static void keep(Bridges *bridges, const Tap *tap) {
    char device[IFNAMSIZ];
    bridge_device_name(tap->network, device);
    (void)pthread_mutex_lock(&bridges->mutex);
    if (if_nametoindex(device))
        taps_add(&bridges->taps, tap);
    else
        (void)fd_close(tap->fd);
    (void)pthread_mutex_unlock(&bridges->mutex);
}

static void fill(void *data) {
    Filling *filling = data;
    _cleanup_error_ Error error = ERROR_INIT;
    Tap tap;
    while (!home_is_closing(filling->home) && atomic_fetch_sub(&filling->left, 1) > 0) {
        if (tap_make(filling->home->bridges, &filling->network, "pool", &tap, &error) < 0) {
            log_warning("the pool of network %s stays short: %s", filling->network.name,
                        error_message(&error));
            atomic_store(&filling->left, 0);
            return;
        }
        keep(filling->home->bridges, &tap);
    }
}

/* One thread fills at a time: two that count the same would make too many. */
static void fill_all(Home *home, void *data) {
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    Filling *filling = data;
    (void)pthread_mutex_lock(&one);
    int missing = (int)filling->network.data.taps - (int)tap_pool_count(home, &filling->network);
    atomic_store(&filling->left, MAX_OF(missing, 0));
    if (missing > 0)
        parallel_run(parallel_threads(MIN_OF(FILL_THREADS, missing)), fill, filling);
    (void)pthread_mutex_unlock(&one);
    free(filling);
}

void tap_pool_fill_later(Home *home, const NetworkRow *network) {
    if (network->data.taps == 0 || home_is_closing(home))
        return;
    Filling *filling = calloc(1, sizeof(*filling));
    if (!filling)
        abort();
    filling->home = home;
    str_set(filling->network.id, network->id);
    str_set(filling->network.name, network->name);
    filling->network.data.taps = network->data.taps;
    filling->network.data.isolated = network->data.isolated;
    if (home_work(home, fill_all, filling) < 0)
        free(filling);
}

size_t tap_pool_count(Home *home, const NetworkRow *network) {
    Bridges *bridges = home->bridges;
    (void)pthread_mutex_lock(&bridges->mutex);
    size_t count = taps_count_free(&bridges->taps, network->id);
    (void)pthread_mutex_unlock(&bridges->mutex);
    return count;
}
