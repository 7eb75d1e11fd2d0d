/* SPDX-License-Identifier: Apache-2.0 */

/* The host's part of every VM: which QEMU, which accelerator. Asked once and remembered; a changed
 * QEMU binary is noticed and asked again. */

#include <errno.h>

#include "qemu/accel.h"
#include "vm/internal.h"

#define PROBE_TIMEOUT_USEC (60 * USEC_PER_SEC)

static int choose_accel(Ramet *ramet, Error *error) {
    const char *wish = ramet->accel ? ramet->accel : getenv("RAMET_ACCEL");
    char *helper[] = {ramet->keeper, (char *)"--probe-kvm", NULL};
    _cleanup_free_ char *reason = NULL;
    AccelProbe probe = {0};
    const char *chosen;
    int r;

    if (accel_wish_needs_probe(wish))
        accel_probe_cached(ramet->home, helper, &probe, NULL);
    r = accel_choose(wish, accel_wish_needs_probe(wish) ? &probe : NULL, &chosen, &reason, error);
    if (r < 0)
        return r;
    free(ramet->accel_reason);
    ramet->accel_reason = TAKE_PTR(reason);
    ramet->accel_chosen = chosen;
    return 0;
}

static int probe_locked(Ramet *ramet, Error *error) {
    _cleanup_free_ char *binary = NULL;
    QemuFeatures features = {0};
    int r = qemu_find_binary(ramet->qemu, &binary, error);

    if (r < 0)
        return r;
    if (ramet->probed && qemu_features_fit(&ramet->features, binary))
        return 0;
    r = qemu_features_cached(ramet->home, binary, clock_monotonic_usec() + PROBE_TIMEOUT_USEC,
                             &features, error);
    if (r < 0)
        return r;
    r = qemu_features_check(&features, error);
    if (r >= 0 && !ramet->probed)
        r = choose_accel(ramet, error);
    if (r < 0) {
        qemu_features_free(&features);
        return r;
    }
    qemu_features_free(&ramet->features);
    ramet->features = features;
    ramet->probed = true;
    return 0;
}

int host_probe(Ramet *ramet, QemuFeatures *features, const char **accel, Error *error) {
    int r;

    (void)pthread_mutex_lock(&ramet->probe_mutex);
    r = probe_locked(ramet, error);
    if (r >= 0) {
        *features = ramet->features;
        features->binary = str_copy(ramet->features.binary);
        *accel = ramet->accel_chosen;
    }
    (void)pthread_mutex_unlock(&ramet->probe_mutex);
    return r;
}

int ramet_host(Ramet *ramet, json_t **host, Error *error) {
    int r;

    (void)pthread_mutex_lock(&ramet->probe_mutex);
    r = probe_locked(ramet, error);
    if (r >= 0)
        *host = json_pack("{s:s, s:s, s:s, s:s}", "qemu", ramet->features.binary, "qemu_version",
                          ramet->features.version, "accel", ramet->accel_chosen, "reason",
                          ramet->accel_reason ? ramet->accel_reason : "");
    (void)pthread_mutex_unlock(&ramet->probe_mutex);
    return r;
}
