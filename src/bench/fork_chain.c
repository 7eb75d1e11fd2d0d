/* SPDX-License-Identifier: Apache-2.0 */

/* Snapshots of snapshots. */

#include "bench/fork_chain.h"

#include "base/str.h"
#include "bench/fork_guests.h"

/* Forks the snapshot and freezes the clone: the next generation. */
static int next_generation(ForkBench *bench, const char *from, uint64_t bytes, char **to,
                           Error *error) {
    _cleanup_json_ json_t *answer = NULL, *snapshot = NULL;
    const char *id;
    int r = fork_make(bench, from, 1, &answer, NULL, error);
    if (r < 0)
        return r;
    const json_t *vm = fork_first(answer);
    r = fork_dirty(bench, vm, bytes, error);
    if (r >= 0)
        r = fork_freeze(bench, vm, NULL, &snapshot, error);
    if (r >= 0)
        r = json_get_string("the snapshot", snapshot, "id", &id, error);
    int removed = fork_remove_all(bench, answer, r < 0 ? NULL : error);
    if (r < 0 || removed < 0)
        return r < 0 ? r : removed;
    *to = str_copy(id);
    return 0;
}

int fork_chain_make(ForkBench *bench, const char *root, size_t count, uint64_t bytes,
                    ForkChain *chain, Error *error) {
    for (size_t i = 0; i < count; i++) {
        char *next = NULL;
        bench_say("generation %zu", i + 1);
        int r = next_generation(bench, chain->last ? chain->last : root, bytes, &next, error);
        if (r < 0)
            return r;
        if (!chain->first)
            chain->first = str_copy(next);
        free(chain->last);
        chain->last = next;
    }
    return 0;
}

int fork_chain_remove(ForkBench *bench, ForkChain *chain, Error *error) {
    int r = chain->first ? fork_snapshot_remove(bench, chain->first, error) : 0;
    free(chain->first);
    free(chain->last);
    *chain = (ForkChain){0};
    return r;
}
