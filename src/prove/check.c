/* SPDX-License-Identifier: Apache-2.0 */
#include "prove/check.h"

#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "prove/guest.h"

static const char *fact(const ProveClone *clone, const char *key) {
    return json_string_value(json_object_get(clone->facts, key));
}

static char *find_same(const Proof *proof, const char *key) {
    for (size_t i = 0; i < proof->count; i++)
        for (size_t j = 0; j < i; j++)
            if (str_equal(fact(&proof->clones[i], key), fact(&proof->clones[j], key)))
                return str_format("%s and %s both have %.80s", proof->clones[j].name,
                                  proof->clones[i].name, fact(&proof->clones[i], key));
    return NULL;
}

static char *find_lacking(const Proof *proof, const char *key, size_t *lacking) {
    const char *name = "";
    *lacking = 0;
    for (size_t i = 0; i < proof->count; i++)
        if (!fact(&proof->clones[i], key)) {
            (*lacking)++;
            name = proof->clones[i].name;
        }
    return *lacking ? str_format("%s has none", name) : NULL;
}

void check_distinct(Proof *proof, const char *key, const char *what, bool optional) {
    _cleanup_free_ char *title = str_format("%s distinct", what), *problem = NULL;
    _cleanup_free_ char *good = str_format("%zu different ones", proof->count);
    size_t lacking;
    problem = find_lacking(proof, key, &lacking);
    if (optional && lacking == proof->count) {
        free(problem);
        problem = NULL;
        proof_add(proof, title, NULL, "the image has none");
        return;
    }
    if (!problem)
        problem = find_same(proof, key);
    proof_add(proof, title, problem, good);
}

/* With a user-mode network each clone is alone in a network of its own, and all have the same
 * address there. */
void check_addresses(Proof *proof) {
    const char *network = proof->count ? fact(&proof->clones[0], "network") : NULL;
    if (str_equal(network, "user"))
        proof_add(proof, "address distinct", NULL, "private: each is alone in its own network");
    else if (!network || str_equal(network, "none"))
        proof_add(proof, "address distinct", NULL, "the VM has no network");
    else
        check_distinct(proof, "ip", "address", false);
}

void check_clocks(Proof *proof) {
    _cleanup_free_ char *problem = NULL, *good = NULL;
    double worst = 0;
    for (size_t i = 0; i < proof->count; i++) {
        const ProveClone *clone = &proof->clones[i];
        worst = MAX_OF(worst, clone->most_ms);
        worst = MAX_OF(worst, -clone->least_ms);
        if (!problem && (clone->least_ms < -CLOCK_LIMIT_MS || clone->most_ms > CLOCK_LIMIT_MS))
            problem = str_format("%s is ahead of the host by %.1f to %.1f ms", clone->name,
                                 clone->least_ms, clone->most_ms);
    }
    good = str_format("off by %.1f ms at the most, doubt of the measurement included", worst);
    proof_add(proof, "clock within 50 ms of the host's", problem, good);
}

/* A guest that had rebooted would have another nonce in its memory, a counter that began anew, and
 * would be up for less time than the clone exists. */
static char *find_reboot(const Proof *proof, const ProveClone *clone) {
    const char *nonce = json_string_value(json_object_get(proof->snapshot, "ram_nonce"));
    const char *boot = fact(clone, "boot");
    double up = fact(clone, "uptime") ? strtod(fact(clone, "uptime"), NULL) : 0;
    double existed = json_number_value(json_object_get(clone->facts, "existed_us")) / 1e6;
    json_int_t counter = json_integer_value(json_object_get(clone->facts, "counter"));
    if (!str_equal(boot, "forked") && !str_equal(boot, "claimed"))
        return str_format("%s came up %s", clone->name, boot ? boot : "nobody knows how");
    if (!str_equal(fact(clone, "ram_nonce"), nonce))
        return str_format("%s has another nonce in its memory", clone->name);
    if (counter <= json_integer_value(json_object_get(proof->snapshot, "counter")))
        return str_format("the counter in %s's memory did not go on", clone->name);
    if (up <= existed)
        return str_format("%s is up for %.2f s, and was ready %.2f s ago", clone->name, up,
                          existed);
    return NULL;
}

/* The random state that programs of the guest keep in their own memory is a copy of the snapshot's.
 * Nobody can look at it from outside, so it is said what was not looked at. */
void check_programs(Proof *proof) {
    const char *names = proof->count ? fact(&proof->clones[0], "program") : NULL;
    _cleanup_free_ char *message =
        names ? str_format("not looked at, in %zu clones each: %.200s%s (docs/clones.md)",
                           proof->count, names, strlen(names) > 200 ? "…" : "")
              : str_copy("no program ran");
    proof_add(proof, "random state of programs", NULL, message);
}

void check_restored(Proof *proof) {
    _cleanup_free_ char *problem = NULL;
    for (size_t i = 0; i < proof->count && !problem; i++)
        problem = find_reboot(proof, &proof->clones[i]);
    proof_add(proof, "restored, not rebooted", problem,
              "nonce and counter in memory, and uptime, go on");
}
