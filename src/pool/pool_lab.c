/* SPDX-License-Identifier: Apache-2.0 */

#include "pool/pool_lab.h"

#include <errno.h>

#include "base/log.h"
#include "base/str.h"
#include "home/inside.h"

void pool_lab_register(Home *home, const WarmLabs *labs) {
    home->warm_labs = labs;
}

int pool_lab_find(Home *home, const char *source, PoolRow *pool, Error *error) {
    _cleanup_lab_snapshot_row_ LabSnapshotRow found = {0};
    int r = lab_snapshots_find(home->store, source, &found, error);
    if (r < 0)
        return r;
    if (frozen_lab_count_running(&found.data) == 0)
        return error_set(error, ERROR_UNSUPPORTED, ENOTSUP,
                         "no VM of lab %s ran when %s was taken, so nothing of it can be warm",
                         found.lab, found.name);
    str_set(pool->source, found.id);
    str_set(pool->kind, POOL_LAB);
    str_set(pool->name, found.name);
    return 0;
}

uint64_t pool_vms_each(Home *home, const PoolRow *pool) {
    _cleanup_lab_snapshot_row_ LabSnapshotRow row = {0};
    if (!str_equal(pool->kind, POOL_LAB) ||
        lab_snapshots_get(home->store, pool->source, &row, NULL) < 0)
        return 1;
    return frozen_lab_count_running(&row.data);
}

/* ---- looking at copies ---- */

static bool is_copy(const LabRow *lab, const char *snapshot) {
    return lab->state == LAB_WARM && str_equal(lab->snapshot, snapshot);
}

static uint64_t count_warm_vms(const LabRow *lab, const VmRow *vms, size_t n_vms, uint64_t *bytes) {
    uint64_t count = 0;
    *bytes = 0;
    for (size_t i = 0; i < n_vms; i++) {
        if (vms[i].state != STATE_WARM || !str_equal(vms[i].lab, lab->id))
            continue;
        count++;
        *bytes += vms[i].runtime.warm_bytes;
    }
    return count;
}

uint64_t pool_lab_count(Home *home, const VmRow *vms, size_t n_vms, const char *snapshot,
                        uint64_t *bytes) {
    PoolRow pool = {.kind = POOL_LAB};
    uint64_t each, copies = 0, sum = 0, held;
    LabRow *labs = NULL;
    size_t count = 0;
    str_set(pool.source, snapshot);
    each = pool_vms_each(home, &pool);
    (void)labs_list(home->store, &labs, &count, NULL);
    for (size_t i = 0; i < count; i++) {
        if (!is_copy(&labs[i], snapshot) || count_warm_vms(&labs[i], vms, n_vms, &held) != each)
            continue;
        copies++;
        sum += held;
    }
    lab_rows_free(labs, count);
    if (bytes)
        *bytes = sum;
    return copies;
}

/* ---- removing copies ---- */

/* One that was claimed meanwhile stays. 1: it was there. */
static int remove_copy(Home *home, const LabRow *lab, Error *error) {
    int r = labs_take_warm(home->store, lab->id, error);
    if (r > 0)
        r = home->warm_labs->remove(home, lab, error);
    return r < 0 ? r : 1;
}

int pool_lab_trim(Home *home, const char *snapshot, uint64_t keep, Error *error) {
    uint64_t copies = 0;
    LabRow *labs = NULL;
    size_t count = 0;
    int r = labs_list(home->store, &labs, &count, error), done = 0;
    for (size_t i = 0; i < count; i++)
        copies += is_copy(&labs[i], snapshot);
    for (size_t i = count; r >= 0 && i-- > 0 && copies > keep;) {
        if (!is_copy(&labs[i], snapshot))
            continue;
        r = remove_copy(home, &labs[i], error);
        copies--;
        done = 1;
    }
    lab_rows_free(labs, count);
    return r < 0 ? r : done;
}

static bool has_pool(const PoolRow *pools, size_t count, const char *snapshot) {
    for (size_t i = 0; i < count; i++)
        if (str_equal(pools[i].source, snapshot))
            return true;
    return false;
}

static bool is_whole(Home *home, const LabRow *lab) {
    PoolRow pool = {.kind = POOL_LAB};
    size_t n_vms = 0;
    VmRow *vms = NULL;
    uint64_t bytes;
    bool whole;
    str_set(pool.source, lab->snapshot);
    if (vms_list_of_lab(home->store, lab->id, &vms, &n_vms, NULL) < 0)
        return true;
    whole = count_warm_vms(lab, vms, n_vms, &bytes) == pool_vms_each(home, &pool);
    vm_rows_free(vms, n_vms);
    return whole;
}

int pool_lab_remove_strays(Home *home, const PoolRow *pools, size_t count) {
    LabRow *labs = NULL;
    size_t n_labs = 0;
    int done = 0;
    (void)labs_list(home->store, &labs, &n_labs, NULL);
    for (size_t i = 0; i < n_labs; i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        if (labs[i].state != LAB_WARM ||
            (has_pool(pools, count, labs[i].snapshot) && is_whole(home, &labs[i])))
            continue;
        if (remove_copy(home, &labs[i], &error) >= 0)
            done = 1;
        else
            log_warning("cannot remove the warm lab %s: %s", labs[i].name, error_message(&error));
    }
    lab_rows_free(labs, n_labs);
    return done;
}
