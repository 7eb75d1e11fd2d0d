/* SPDX-License-Identifier: Apache-2.0 */

/* As prove.c, of labs: VMs of several copies must differ in some things and agree in others. */

#include "prove/lab.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/str.h"
#include "prove/check.h"
#include "prove/connections.h"
#include "prove/guest.h"

#define PINGS 20

typedef struct Run {
    Proof proof;  /* its snapshot: NULL where a copy was named; its clones: the VMs that run of the
                     first copy, then those of the next */
    json_t *labs; /* owned: the copies */
    size_t n_vms; /* of each */
    bool made;    /* by us */
} Run;

static void run_free(Run *run) {
    proof_free(&run->proof);
    json_decref(run->labs);
}

/* ---- the copies ---- */

static int make_copies(Run *run, const char *reference, unsigned count, Error *error) {
    _cleanup_free_ char *tail = random_hex(3), *name = str_format("prove-%s", tail);
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:s, s:I}", "source", reference, "name", name, "count", (json_int_t)count);
    run->made = true;
    int r = proof_call(&run->proof, API_LAB_FORK, NULL, NULL, body, &answer, error);
    run->proof.ready_usec = clock_monotonic_usec();
    if (r < 0)
        return r;
    run->labs = json_incref(json_object_get(answer, "labs"));
    const json_t *failure = json_array_get(json_object_get(answer, "errors"), 0);
    if (!failure)
        return 0;
    return error_set(error, ERROR_FAILED, EIO, "not all copies came: %s",
                     str_or_empty(json_string_value(
                         json_object_get(json_object_get(failure, "error"), "message"))));
}

/* A lab's snapshot is copied; a lab that is a copy is looked at. */
static int find_copies(Run *run, const char *reference, unsigned count, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    json_t *lab;
    proof_enter(&run->proof, "fork");
    int r = proof_call(&run->proof, API_LAB_SNAPSHOT_INSPECT, reference, NULL, NULL,
                       &run->proof.snapshot, &failure);
    if (r >= 0)
        return make_copies(run, reference, count, error);
    if (failure.kind != ERROR_NOT_FOUND)
        return error_move(error, &failure);
    r = proof_call(&run->proof, API_LAB_INSPECT, reference, NULL, NULL, &lab, error);
    if (r < 0)
        return r;
    run->labs = json_pack("[o]", lab);
    if (!json_is_null(json_object_get(lab, "from")))
        return 0;
    error_set(error, ERROR_USAGE, EINVAL, "lab %s is no copy", reference);
    error_set_hint(error, "freeze it with ramet lab snapshot, and prove that");
    return -EINVAL;
}

static size_t count_vms(const json_t *labs) {
    const json_t *lab;
    size_t i, count = 0;
    json_array_foreach(labs, i, lab) {
        count += json_array_size(json_object_get(lab, "vms"));
    }
    return count;
}

/* One that is stopped in the copies, since it was in their source, cannot be asked. */
static void note_vm(Proof *proof, const json_t *vm) {
    if (str_equal(json_string_value(json_object_get(vm, "state")), "stopped"))
        return;
    proof_add_clone(proof, json_string_value(json_object_get(vm, "id")),
                    json_string_value(json_object_get(vm, "vm")),
                    json_pack("{s:O, s:O}", "name", json_object_get(vm, "vm"), "inside",
                              json_object_get(vm, "name")));
}

static void note_vms(Run *run) {
    const json_t *lab, *vm;
    size_t i, k;
    proof_make_room(&run->proof, count_vms(run->labs));
    json_array_foreach(run->labs, i, lab) {
        json_array_foreach(json_object_get(lab, "vms"), k, vm) {
            note_vm(&run->proof, vm);
        }
        run->n_vms = run->proof.count / (i + 1);
    }
}

static int remove_copies(Run *run, Error *error) {
    const json_t *lab;
    size_t i;
    int r = 0;
    json_array_foreach(run->made ? run->labs : NULL, i, lab) {
        const char *name = json_string_value(json_object_get(lab, "name"));
        int removed =
            proof_call(&run->proof, API_LAB_DOWN, name, NULL, NULL, NULL, r < 0 ? NULL : error);
        r = r < 0 ? r : removed;
    }
    return r;
}

/* ---- who they are ---- */

/* A VM of a copy agrees in that with the same of the others. */
static void check_same(Run *run, const char *key, const char *what) {
    Proof *proof = &run->proof;
    _cleanup_free_ char *title = str_format("%s as in its source", what), *problem = NULL;
    for (size_t i = run->n_vms; i < proof->count && !problem; i++) {
        const json_t *first = json_object_get(proof->clones[i % run->n_vms].facts, key);
        const json_t *other = json_object_get(proof->clones[i].facts, key);
        if ((first || other) && !json_equal(first, other))
            problem = str_format("%s has another one than %s", proof->clones[i].name,
                                 proof->clones[i % run->n_vms].name);
    }
    proof_add(proof, title, problem, "the same in each copy");
}

static void check_forked(Run *run) {
    Proof *proof = &run->proof;
    _cleanup_free_ char *problem = NULL;
    for (size_t i = 0; i < proof->count && !problem; i++) {
        const char *boot = json_string_value(json_object_get(proof->clones[i].facts, "boot"));
        if (!str_equal(boot, "forked") && !str_equal(boot, "claimed"))
            problem = str_format("%s came up %s", proof->clones[i].name, str_or_empty(boot));
    }
    proof_add(proof, "restored, not rebooted", problem, "each goes on from the lab's snapshot");
}

static int check_identities(Run *run, Error *error) {
    Proof *proof = &run->proof;
    int r = guest_ask_all(proof, error);
    if (r < 0)
        return r;
    check_distinct(proof, "random", "kernel random bytes", false);
    check_distinct(proof, "uuid", "UUID", false);
    check_distinct(proof, "boot_id", "boot-id", false);
    check_distinct(proof, "generation", "generation", false);
    if (json_array_size(run->labs) > 1) {
        check_same(run, "hostname", "hostname");
        check_same(run, "machine_id", "machine-id");
        check_same(run, "mac", "MAC");
        check_same(run, "ip", "address");
        check_same(run, "ssh_key", "SSH host key");
    }
    check_clocks(proof);
    check_forked(run);
    return 0;
}

/* ---- what they say to each other ---- */

static int check_connections(Run *run, Error *error) {
    Proof *proof = &run->proof;
    char **texts = calloc(run->n_vms + 1, sizeof(*texts));
    _cleanup_free_ char *problem = NULL;
    size_t whole = 0;
    int r = 0;
    if (!texts)
        abort();
    proof_enter(&run->proof, "connections");
    for (size_t first = 0; r >= 0 && !problem && first < proof->count; first += run->n_vms) {
        for (size_t i = 0; r >= 0 && i < run->n_vms; i++) {
            free(texts[i]);
            texts[i] = NULL;
            r = guest_script(proof, proof->clones[first + i].id,
                             "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null; true", &texts[i],
                             error);
        }
        if (r >= 0)
            whole += connections_check((const char *const *)texts, run->n_vms, &problem);
    }
    for (size_t i = 0; i < run->n_vms; i++)
        free(texts[i]);
    free(texts);
    if (r < 0)
        return r;
    _cleanup_free_ char *good = str_format("%zu, each known to both of its ends", whole);
    proof_add(proof, "connections between its VMs go on", problem, good);
    return 0;
}

/* Each network of a copy has ports of its own VMs, and of nobody else. */
static int check_ports(Run *run, Error *error) {
    Proof *proof = &run->proof;
    _cleanup_free_ char *problem = NULL;
    const json_t *lab, *network, *vm;
    size_t i, k, n;
    json_array_foreach(run->labs, i, lab) {
        const char *name = json_string_value(json_object_get(lab, "name"));
        _cleanup_free_ char *prefix = str_format("%s/", name);
        json_array_foreach(json_object_get(lab, "networks"), k, network) {
            const char *full = json_string_value(json_object_get(network, "network"));
            _cleanup_json_ json_t *now = NULL;
            int r = proof_call(proof, API_NETWORK_INSPECT, full, NULL, NULL, &now, error);
            if (r < 0)
                return r;
            json_array_foreach(json_object_get(now, "vms"), n, vm) {
                const char *member = json_string_value(json_object_get(vm, "name"));
                if (!problem && !str_has_prefix(str_or_empty(member), prefix))
                    problem = str_format("%s is in network %s", member, full);
            }
        }
    }
    proof_add(proof, "networks of its own", problem, "each has this copy's VMs only");
    return 0;
}

/* How many echo requests the guest has got: "Icmp: NAMES" and then "Icmp: NUMBERS". */
static int ask_echoes(const Run *run, size_t index, uint64_t *echoes, Error *error) {
    _cleanup_free_ char *text = NULL;
    char *names, *numbers, *rest_names = NULL, *rest_numbers = NULL;
    int r = guest_script(&run->proof, run->proof.clones[index].id, "grep ^Icmp: /proc/net/snmp",
                         &text, error);
    if (r < 0)
        return r;
    names = strtok_r(text, "\n", &rest_names);
    numbers = strtok_r(NULL, "\n", &rest_names);
    *echoes = 0;
    if (!names || !numbers)
        return 0;
    rest_names = NULL;
    names = strtok_r(names, " ", &rest_names);
    numbers = strtok_r(numbers, " ", &rest_numbers);
    while (names && numbers) {
        if (str_equal(names, "InEchos"))
            *echoes = strtoull(numbers, NULL, 10);
        names = strtok_r(NULL, " ", &rest_names);
        numbers = strtok_r(NULL, " ", &rest_numbers);
    }
    return 0;
}

/* The second VM of each copy has the same address: only that of the first copy hears its first VM.
 */
static int ping(const Run *run, bool *looked, char **problem, Error *error) {
    const Proof *proof = &run->proof;
    size_t n_copies = json_array_size(run->labs);
    const char *address = json_string_value(json_object_get(proof->clones[1].facts, "ip"));
    uint64_t *before = calloc(n_copies, sizeof(*before));
    uint64_t *after = calloc(n_copies, sizeof(*after));
    _cleanup_free_ char *script =
        str_format("command -v ping >/dev/null || { echo none; exit 0; }; "
                   "ping -c %d -i 0.1 -w 30 %s >/dev/null",
                   PINGS, str_or_empty(address));
    _cleanup_free_ char *said = NULL;
    int r = 0;
    if (!before || !after)
        abort();
    for (size_t i = 0; r >= 0 && i < n_copies; i++)
        r = ask_echoes(run, i * run->n_vms + 1, &before[i], error);
    if (r >= 0)
        r = guest_script(proof, proof->clones[0].id, script, &said, error);
    *looked = r >= 0 && !*said;
    for (size_t i = 0; r >= 0 && i < n_copies; i++)
        r = ask_echoes(run, i * run->n_vms + 1, &after[i], error);
    for (size_t i = 0; *looked && r >= 0 && i < n_copies && !*problem; i++)
        if ((after[i] - before[i] >= PINGS) != (i == 0))
            *problem = str_format("of %d frames that %s sent, %s got %llu", PINGS,
                                  proof->clones[0].name, proof->clones[i * run->n_vms + 1].name,
                                  (unsigned long long)(after[i] - before[i]));
    free(before);
    free(after);
    return r;
}

static int check_frames(Run *run, Error *error) {
    Proof *proof = &run->proof;
    _cleanup_free_ char *problem = NULL;
    bool looked = false;
    int r = check_ports(run, error);
    if (r < 0 || json_array_size(run->labs) < 2 || run->n_vms < 2)
        return r;
    proof_enter(&run->proof, "frames");
    r = ping(run, &looked, &problem, error);
    if (r >= 0)
        proof_add(proof, "frames stay inside", problem,
                  looked ? "what the first copy sends its own VM gets, and no other copy's"
                         : "not looked at: the image has no ping");
    return r;
}

/* ---- what they grow from ---- */

static int check_source(Run *run, Error *error) {
    Proof *proof = &run->proof;
    _cleanup_free_ char *problem = NULL;
    const json_t *vm;
    size_t i;
    if (!run->proof.snapshot)
        return 0;
    proof_enter(&run->proof, "verify");
    json_array_foreach(json_object_get(run->proof.snapshot, "vms"), i, vm) {
        const char *id = json_string_value(json_object_get(vm, "snapshot"));
        _cleanup_json_ json_t *verified = NULL;
        int r = proof_call(proof, API_SNAPSHOT_VERIFY, id, NULL, NULL, &verified, error);
        if (r < 0)
            return r;
        if (!problem && !json_is_true(json_object_get(verified, "ok")))
            problem = str_format("the snapshot of %s is not what was saved",
                                 json_string_value(json_object_get(vm, "name")));
    }
    proof_add(proof, "what they grow from is as it was saved", problem,
              "memory, device state and disks of all VMs");
    return 0;
}

/* ---- all of it ---- */

static json_t *make_report(const Run *run, const char *reference) {
    const Proof *proof = &run->proof;
    json_t *vms = json_array(), *names = json_array();
    const json_t *lab;
    size_t k;
    for (size_t i = 0; i < proof->count; i++)
        (void)json_array_append(vms, proof->clones[i].facts);
    json_array_foreach(run->labs, k, lab) {
        (void)json_array_append(names, json_object_get(lab, "name"));
    }
    return json_pack("{s:s, s:b, s:o, s:o, s:O}", "name", reference, "ok", proof->ok, "labs", names,
                     "vms", vms, "checks", proof->checks);
}

int prove_lab(const char *socket, const char *reference, unsigned count, HttpLineHandler on_event,
              void *data, json_t **report, Error *error) {
    _cleanup_(run_free) Run run = {.made = false};
    proof_init(&run.proof, socket, on_event, data);
    int r = find_copies(&run, reference, count, error);
    if (r >= 0) {
        note_vms(&run);
        r = check_identities(&run, error);
    }
    if (r >= 0)
        r = check_connections(&run, error);
    if (r >= 0)
        r = check_frames(&run, error);
    if (r >= 0)
        r = check_source(&run, error);
    proof_enter(&run.proof, "remove");
    int removed = remove_copies(&run, r < 0 ? NULL : error);
    if (r >= 0)
        r = removed;
    if (r >= 0)
        *report = make_report(&run, reference);
    return r;
}
