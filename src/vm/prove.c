/* SPDX-License-Identifier: Apache-2.0 */

/* Showing what forking promises, on a snapshot of the user's own: clones are made, asked who they
 * are, made to write different things, one of them is frozen and forked in turn, all are removed;
 * and what they grow from is read again after each step.
 *
 * A check that fails is in the report and the rest goes on. An error is only for what could not be
 * looked at; also then the clones go. Each clone belongs to a stream that this thread holds, so the
 * clones go with the daemon, too. */

#include <errno.h>
#include <math.h>
#include <sys/socket.h>

#include "base/digest.h"
#include "base/log.h"
#include "vm/prove_internal.h"
#include "vm/vm.h"

static void prove_free(Prove *prove) {
    for (size_t i = 0; i < prove->count; i++) {
        (void)fd_close(prove->clones[i].stream);
        json_decref(prove->clones[i].facts);
    }
    free(prove->clones);
    if (prove->pinned)
        snapshot_unpin(prove->ramet, prove->snapshot.id);
    snapshot_row_free(&prove->snapshot);
    json_decref(prove->checks);
    json_decref(prove->frozen);
}

/* --- clones ------------------------------------------------------------------------------------
 */

static int own_clone(Prove *prove, const char *id, int *stream, Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:b}", "owner", 1);
    _cleanup_close_ int theirs = -1;
    int pair[2], r = fd_socketpair(SOCK_STREAM, pair);

    if (r < 0)
        return error_set_errno(error, -r, "cannot make a socket pair");
    *stream = pair[0];
    theirs = pair[1];
    return vm_hand_stream(prove->ramet, id, "attach", request, theirs, error);
}

/* All of them are known to the caller before anything can fail. */
static int take_clones(Prove *prove, const json_t *answer, Error *error) {
    const json_t *vms = json_object_get(answer, "vms"), *vm;
    size_t i;
    int r = 0;

    prove->clones = calloc(json_array_size(vms) + 1, sizeof(*prove->clones));
    if (!prove->clones)
        abort();
    json_array_foreach(vms, i, vm) {
        ProveClone *clone = &prove->clones[prove->count++];

        *clone = (ProveClone){
            .stream = -1, .facts = json_object(), .least_ms = -HUGE_VAL, .most_ms = HUGE_VAL};
        (void)snprintf(clone->id, sizeof(clone->id), "%s",
                       json_string_value(json_object_get(vm, "id")));
        (void)snprintf(clone->name, sizeof(clone->name), "%s",
                       json_string_value(json_object_get(vm, "name")));
        (void)json_object_set_new(clone->facts, "name", json_string(clone->name));
    }
    for (i = 0; r >= 0 && i < prove->count; i++)
        r = own_clone(prove, prove->clones[i].id, &prove->clones[i].stream, error);
    return r;
}

static int fork_clones(Prove *prove, unsigned count, Error *error) {
    _cleanup_free_ char *tail = random_hex(3), *name = str_format("prove-%s", tail);
    const ForkOptions options = {
        .source = prove->snapshot.id, .name = name, .count = count, .owned = true};
    _cleanup_json_ json_t *answer = NULL;
    int r;

    prove->forked_usec = clock_monotonic_usec();
    r = vm_fork(prove->ramet, prove->operation, &options, &answer, error);
    return r < 0 ? r : take_clones(prove, answer, error);
}

static int remove_vm(Prove *prove, const char *id, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    Operation cleanup;
    int r;

    operation_init(&cleanup, 0, -1);
    r = vm_remove(prove->ramet, &cleanup, id, true, &failure);
    return r < 0 && failure.kind != ERROR_NOT_FOUND ? error_move(error, &failure) : 0;
}

static int remove_clones(Prove *prove, Error *error) {
    int r = 0;

    for (size_t i = 0; i < prove->count; i++) {
        int removed = remove_vm(prove, prove->clones[i].id, r < 0 ? NULL : error);

        r = r < 0 ? r : removed;
    }
    return r;
}

/* --- steps -------------------------------------------------------------------------------------
 */

static int check_identities(Prove *prove, Error *error) {
    static const struct {
        const char *key, *what;
        bool optional;
    } facts[] = {{"random", "kernel random bytes", false},
                 {"uuid", "UUID", false},
                 {"machine_id", "machine-id", false},
                 {"hostname", "hostname", false},
                 {"boot_id", "boot-id", false},
                 {"mac", "MAC", true},
                 {"ssh_key", "SSH host key", true}};
    int r = 0;

    operation_enter(prove->operation, "ask");
    for (size_t i = 0; r >= 0 && i < prove->count; i++)
        r = prove_ask(prove, &prove->clones[i], error);
    for (size_t i = 0; r >= 0 && i < prove->count; i++)
        r = prove_ask_clock(prove, &prove->clones[i], error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
        prove_check_distinct(prove, facts[i].key, facts[i].what, facts[i].optional);
    prove_check_addresses(prove);
    prove_check_clocks(prove);
    prove_check_restored(prove);
    prove_check_frozen(prove, "while they run");
    return 0;
}

static int check_mark(Prove *prove, const char *vm, const char *mark, char **problem,
                      Error *error) {
    _cleanup_free_ char *seen = NULL, *wanted = str_format("%s %s\n", mark, mark);
    int r = prove_read_mark(prove, vm, &seen, error);

    if (r >= 0 && !*problem && !str_equal(seen, wanted))
        *problem = str_format("%.40s sees %.80s instead of what was written there", mark, seen);
    return r;
}

static int check_divergence(Prove *prove, Error *error) {
    _cleanup_free_ char *problem = NULL;
    int r = 0;

    operation_enter(prove->operation, "diverge");
    for (size_t i = 0; r >= 0 && i < prove->count; i++)
        r = prove_write_mark(prove, prove->clones[i].id, prove->clones[i].name, error);
    for (size_t i = 0; r >= 0 && i < prove->count; i++)
        r = check_mark(prove, prove->clones[i].id, prove->clones[i].name, &problem, error);
    if (r < 0)
        return r;
    prove_add(prove, "each sees only its own writes", problem, "in memory and on disk");
    prove_check_frozen(prove, "after they diverged");
    return 0;
}

static int look_at_grandchild(Prove *prove, const json_t *answer, Error *error) {
    const json_t *vm = json_array_get(json_object_get(answer, "vms"), 0);
    const char *id = json_string_value(json_object_get(vm, "id"));
    _cleanup_close_ int stream = -1;
    _cleanup_free_ char *problem = NULL;
    int r = own_clone(prove, id, &stream, error), removed;

    if (r >= 0)
        r = check_mark(prove, id, prove->clones[0].name, &problem, error);
    if (r >= 0)
        prove_add(prove, "a clone's clone goes on where it was", problem, "it sees its writes");
    if (r >= 0)
        prove_check_frozen(prove, "after a clone was frozen and forked");
    removed = remove_vm(prove, id, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

/* The clone's snapshot goes by itself, with what grew from it. */
static int check_grandchild(Prove *prove, Error *error) {
    _cleanup_free_ char *name = str_format("%.56s-fork", prove->clones[0].name);
    const ForkOptions options = {
        .source = prove->clones[0].id, .name = name, .count = 1, .owned = true};
    _cleanup_json_ json_t *answer = NULL;
    int r;

    operation_enter(prove->operation, "fork a clone");
    r = vm_fork(prove->ramet, prove->operation, &options, &answer, error);
    return r < 0 ? r : look_at_grandchild(prove, answer, error);
}

static int run_steps(Prove *prove, unsigned count, Error *error) {
    int r;

    operation_enter(prove->operation, "look");
    r = prove_freeze_frame(prove, error);
    if (r >= 0)
        r = fork_clones(prove, count, error);
    if (r >= 0)
        r = check_identities(prove, error);
    if (r >= 0)
        r = check_divergence(prove, error);
    return r < 0 ? r : check_grandchild(prove, error);
}

/* --- all of it ---------------------------------------------------------------------------------
 */

static json_t *make_report(const Prove *prove) {
    json_t *clones = json_array();

    for (size_t i = 0; i < prove->count; i++)
        (void)json_array_append(clones, prove->clones[i].facts);
    return json_pack("{s:s, s:o, s:b, s:o, s:O, s:O}", "id", prove->snapshot.id, "name",
                     *prove->snapshot.name ? json_string(prove->snapshot.name) : json_null(), "ok",
                     prove->ok, "clones", clones, "checks", prove->checks, "frozen", prove->frozen);
}

static int open_snapshot(Prove *prove, const char *reference, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow found = {0};
    int r = snapshots_find(prove->ramet->store, reference, &found, error);

    if (r >= 0)
        r = snapshot_pin(prove->ramet, found.id, &prove->snapshot, error);
    if (r < 0)
        return r;
    prove->pinned = true;
    if (!snapshot_has_memory(&prove->snapshot))
        return error_set(error, ERROR_UNSUPPORTED, EINVAL,
                         "%s has no memory: its VM did not run, and what grows from it boots",
                         reference);
    return 0;
}

int snapshot_prove(Ramet *ramet, Operation *operation, const char *reference, unsigned count,
                   json_t **report, Error *error) {
    _cleanup_(prove_free) Prove prove = {.ramet = ramet,
                                         .operation = operation,
                                         .checks = json_array(),
                                         .frozen = json_array(),
                                         .ok = true};
    int r, removed;

    if (count < PROVE_CLONES_MIN || count > PROVE_CLONES_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "the count is not within %d … %d",
                         PROVE_CLONES_MIN, PROVE_CLONES_MAX);
    r = open_snapshot(&prove, reference, error);
    if (r < 0)
        return r;
    r = run_steps(&prove, count, error);
    operation_enter(operation, "remove");
    removed = remove_clones(&prove, r < 0 ? NULL : error);
    lineage_collect(ramet);
    if (r < 0 || removed < 0)
        return r < 0 ? r : removed;
    prove_check_frozen(&prove, "after they were removed");
    *report = make_report(&prove);
    return 0;
}
