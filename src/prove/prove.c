/* SPDX-License-Identifier: Apache-2.0 */

/* Showing what forking promises, on a snapshot of the user's own: clones are made, asked who they
 * are, made to write different things, one of them is frozen and forked in turn, all are removed;
 * and what they grow from is read again after each step.
 *
 * A check that fails is in the report and the rest goes on. An error is only for what could not be
 * looked at; also then the clones go. They belong to a stream of this process, so they go with it,
 * too. */

#include "prove/prove.h"

#include <errno.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/str.h"
#include "prove/check.h"
#include "prove/frozen.h"
#include "prove/guest.h"

typedef struct Run {
    Proof proof;
    int stream; /* owned: while it is open, the clones live */
} Run;

static void run_free(Run *run) {
    (void)fd_close(run->stream);
    proof_free(&run->proof);
}

/* ---- clones ---- */

static void note_clones(Proof *proof, const json_t *vms) {
    const json_t *vm;
    size_t i;
    proof_make_room(proof, json_array_size(vms));
    json_array_foreach(vms, i, vm) {
        const char *name = json_string_value(json_object_get(vm, "name"));
        proof_add_clone(proof, json_string_value(json_object_get(vm, "id")), name,
                        json_pack("{s:s}", "name", name));
    }
}

static int fork_clones(Run *run, unsigned count, Error *error) {
    Proof *proof = &run->proof;
    _cleanup_free_ char *tail = random_hex(3), *name = str_format("prove-%s", tail);
    const char *id = json_string_value(json_object_get(proof->snapshot, "id"));
    _cleanup_json_ json_t *vms = NULL;
    int r;
    proof_enter(&run->proof, "fork");
    r = proof_fork(proof, id, name, count, &run->stream, &vms, error);
    proof->ready_usec = clock_monotonic_usec();
    if (r >= 0)
        note_clones(proof, vms);
    return r;
}

static int remove_clones(const Proof *proof, Error *error) {
    int r = 0;
    for (size_t i = 0; i < proof->count; i++) {
        int removed = proof_remove(proof, proof->clones[i].id, r < 0 ? NULL : error);
        r = r < 0 ? r : removed;
    }
    return r;
}

/* ---- steps ---- */

static int check_identities(Run *run, Error *error) {
    static const struct {
        const char *key, *what;
        bool optional;
    } facts[] = {{"random", "kernel random bytes", false},
                 {"uuid", "UUID", false},
                 {"machine_id", "machine-id", false},
                 {"hostname", "hostname", false},
                 {"boot_id", "boot-id", false},
                 {"generation", "generation", false},
                 {"mac", "MAC", true},
                 {"ssh_key", "SSH host key", true}};
    Proof *proof = &run->proof;
    int r = guest_ask_all(proof, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
        check_distinct(proof, facts[i].key, facts[i].what, facts[i].optional);
    check_addresses(proof);
    check_clocks(proof);
    check_restored(proof);
    check_programs(proof);
    return frozen_check(proof, "while they run", error);
}

static int check_mark(Proof *proof, const char *vm, const char *mark, char **problem,
                      Error *error) {
    _cleanup_free_ char *seen = NULL, *wanted = str_format("%s %s\n", mark, mark);
    int r = guest_read_mark(proof, vm, &seen, error);
    if (r >= 0 && !*problem && !str_equal(seen, wanted))
        *problem = str_format("%.40s sees %.80s instead of what was written there", mark, seen);
    return r;
}

static int check_divergence(Run *run, Error *error) {
    Proof *proof = &run->proof;
    _cleanup_free_ char *problem = NULL;
    int r = 0;
    proof_enter(&run->proof, "diverge");
    for (size_t i = 0; r >= 0 && i < proof->count; i++)
        r = guest_write_mark(proof, proof->clones[i].id, proof->clones[i].name, error);
    for (size_t i = 0; r >= 0 && i < proof->count; i++)
        r = check_mark(proof, proof->clones[i].id, proof->clones[i].name, &problem, error);
    if (r < 0)
        return r;
    proof_add(proof, "each sees only its own writes", problem, "in memory and on disk");
    return frozen_check(proof, "after they diverged", error);
}

/* The clone's snapshot goes by itself, with what grew from it. */
static int check_grandchild(Run *run, Error *error) {
    Proof *proof = &run->proof;
    const ProveClone *parent = &proof->clones[0];
    _cleanup_free_ char *name = str_format("%.56s-fork", parent->name), *problem = NULL;
    _cleanup_json_ json_t *vms = NULL;
    _cleanup_close_ int stream = -1;
    proof_enter(&run->proof, "fork a clone");
    int r = proof_fork(proof, parent->id, name, 1, &stream, &vms, error);
    if (r < 0)
        return r;
    const char *id = json_string_value(json_object_get(json_array_get(vms, 0), "id"));
    r = check_mark(proof, id, parent->name, &problem, error);
    if (r >= 0) {
        proof_add(proof, "a clone's clone goes on where it was", problem, "it sees its writes");
        r = frozen_check(proof, "after a clone was frozen and forked", error);
    }
    int removed = proof_remove(proof, id, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

static int run_steps(Run *run, unsigned count, Error *error) {
    proof_enter(&run->proof, "verify");
    int r = frozen_remember(&run->proof, error);
    if (r >= 0)
        r = fork_clones(run, count, error);
    if (r >= 0)
        r = check_identities(run, error);
    if (r >= 0)
        r = check_divergence(run, error);
    return r < 0 ? r : check_grandchild(run, error);
}

static json_t *make_report(const Proof *proof) {
    json_t *clones = json_array();
    for (size_t i = 0; i < proof->count; i++)
        (void)json_array_append(clones, proof->clones[i].facts);
    return json_pack("{s:O, s:O, s:b, s:o, s:O, s:O}", "id", json_object_get(proof->snapshot, "id"),
                     "name", json_object_get(proof->snapshot, "name"), "ok", proof->ok, "clones",
                     clones, "checks", proof->checks, "frozen", proof->frozen);
}

static int find_snapshot(Proof *proof, const char *reference, Error *error) {
    int r = proof_call(proof, API_SNAPSHOT_INSPECT, reference, NULL, NULL, &proof->snapshot, error);
    if (r < 0 || !json_is_null(json_object_get(proof->snapshot, "memory")))
        return r;
    return error_set(error, ERROR_UNSUPPORTED, EINVAL,
                     "%s has no memory: its VM did not run, and what grows from it boots",
                     reference);
}

int prove_snapshot(const char *socket, const char *reference, unsigned count,
                   HttpLineHandler on_event, void *data, json_t **report, Error *error) {
    _cleanup_(run_free) Run run = {.stream = -1};
    proof_init(&run.proof, socket, on_event, data);
    int r = find_snapshot(&run.proof, reference, error);
    if (r < 0)
        return r;
    r = run_steps(&run, count, error);
    proof_enter(&run.proof, "remove");
    int removed = remove_clones(&run.proof, r < 0 ? NULL : error);
    if (r >= 0)
        r = removed;
    if (r >= 0)
        r = frozen_check(&run.proof, "after they were removed", error);
    if (r >= 0)
        r = frozen_complete(&run.proof, error);
    if (r >= 0)
        *report = make_report(&run.proof);
    return r;
}
