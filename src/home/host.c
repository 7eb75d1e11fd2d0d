/* SPDX-License-Identifier: Apache-2.0 */

/* The host's part of every VM: which QEMU, which accelerator. Asked once and remembered; a changed
 * QEMU binary is noticed and asked again. */

#include "home/host.h"

#include <errno.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/str.h"
#include "home/home.h"
#include "home/inside.h"
#include "qemu/accel.h"
#include "qemu/features.h"
#include "qemu/kvm.h"

#define PROBE_TIMEOUT_USEC (60 * USEC_PER_SEC)

static int choose_accel(Home *home, Error *error) {
    const char *wish = home->accel ? home->accel : getenv("RAMET_ACCEL");
    char *helper[] = {home->keeper, (char *)"--probe-kvm", NULL};
    _cleanup_free_ char *reason = NULL;
    AccelProbe probe = {0};
    const char *chosen;
    int r;
    if (accel_wish_needs_probe(wish))
        accel_probe_cached(home->path, wish, helper, &probe, NULL);
    r = accel_choose(wish, accel_wish_needs_probe(wish) ? &probe : NULL, &chosen, &reason, error);
    if (r < 0)
        return r;
    home->accel_chosen = chosen;
    return 0;
}

static int probe_locked(Home *home, Error *error) {
    _cleanup_free_ char *binary = NULL;
    QemuFeatures features = {0};
    int r = qemu_find_binary(home->qemu, &binary, error);
    if (r < 0)
        return r;
    if (home->probed && qemu_features_fit(&home->features, binary))
        return 0;
    r = qemu_features_cached(home->path, binary, clock_monotonic_usec() + PROBE_TIMEOUT_USEC,
                             &features, error);
    if (r < 0)
        return r;
    r = qemu_features_check(&features, error);
    if (r >= 0 && !home->probed)
        r = choose_accel(home, error);
    if (r < 0) {
        qemu_features_free(&features);
        return r;
    }
    qemu_features_free(&home->features);
    home->features = features;
    home->probed = true;
    return 0;
}

int host_probe(Home *home, QemuFeatures *features, const char **accel, Error *error) {
    int r;
    (void)pthread_mutex_lock(&home->probe_mutex);
    r = probe_locked(home, error);
    if (r >= 0) {
        *features = home->features;
        features->binary = str_copy(home->features.binary);
        *accel = home->accel_chosen;
    }
    (void)pthread_mutex_unlock(&home->probe_mutex);
    return r;
}
