/* SPDX-License-Identifier: Apache-2.0 */

/* How long a running clone stands still for a snapshot, and how large that is. */

#include "bench/fork_guests.h"
#include "bench/fork_parts.h"

#define DIRTY_BYTES (8 * MIB)

static double number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

/* A clone that wrote so many bytes, frozen, and gone. */
static int freeze_clone(ForkBench *bench, uint64_t write_bytes, json_t **snapshot, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    int r = fork_make(bench, bench->snapshot, 1, &answer, NULL, error);
    if (r < 0)
        return r;
    r = fork_dirty(bench, fork_first(answer), write_bytes, error);
    if (r >= 0)
        r = fork_freeze(bench, fork_first(answer), NULL, snapshot, error);
    int removed = fork_remove_all(bench, answer, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

static int remove_frozen(ForkBench *bench, const json_t *snapshot, Error *error) {
    const char *id;
    int r = json_get_string("the snapshot", snapshot, "id", &id, error);
    return r < 0 ? r : fork_snapshot_remove(bench, id, error);
}

static int sample_pause(ForkBench *bench, uint64_t write_bytes, Error *error) {
    _cleanup_json_ json_t *snapshot = NULL;
    int r = freeze_clone(bench, write_bytes, &snapshot, error);
    if (r < 0)
        return r;
    double dirty = number(snapshot, "dirty_bytes");
    double size = number(json_object_get(snapshot, "memory"), "allocated_bytes") +
                  number(snapshot, "state_bytes");
    fork_sample(bench, PAUSE, number(snapshot, "pause_us"));
    fork_sample(bench, SNAPSHOT_DIRTY, dirty);
    fork_sample(bench, SNAPSHOT_BEYOND, size - dirty);
    return remove_frozen(bench, snapshot, error);
}

/* What is dirty in a clone that did nothing but what comes with the writing. */
static int idle_dirty(ForkBench *bench, double *bytes, Error *error) {
    _cleanup_json_ json_t *snapshot = NULL;
    int r = freeze_clone(bench, 4 * KIB, &snapshot, error);
    if (r < 0)
        return r;
    *bytes = number(snapshot, "dirty_bytes");
    return remove_frozen(bench, snapshot, error);
}

int fork_bench_pauses(ForkBench *bench, Error *error) {
    double idle = 0;
    int r = idle_dirty(bench, &idle, error);
    uint64_t write_bytes = idle < (double)DIRTY_BYTES ? DIRTY_BYTES - (uint64_t)idle : 4 * KIB;
    for (size_t i = 0; r >= 0 && i < bench->bench->runs; i++) {
        bench_say("pause %zu of %zu", i + 1, bench->bench->runs);
        r = fork_sample_baseline(bench, PAUSE_BASELINE, error);
        if (r >= 0)
            r = sample_pause(bench, write_bytes, error);
    }
    return r;
}
