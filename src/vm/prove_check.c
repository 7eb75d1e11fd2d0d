/* SPDX-License-Identifier: Apache-2.0 */

#include "vm/prove_internal.h"

#define CLOCK_LIMIT_MS 50.0

void prove_add(Prove *prove, const char *what, const char *problem, const char *good) {
    (void)json_array_append_new(prove->checks,
                                json_pack("{s:s, s:b, s:s}", "what", what, "ok", problem == NULL,
                                          "message", problem ? problem : good));
    prove->ok &= problem == NULL;
}

static const char *fact(const ProveClone *clone, const char *key) {
    return json_string_value(json_object_get(clone->facts, key));
}

static char *find_same(const Prove *prove, const char *key) {
    for (size_t i = 0; i < prove->count; i++)
        for (size_t j = 0; j < i; j++)
            if (str_equal(fact(&prove->clones[i], key), fact(&prove->clones[j], key)))
                return str_format("%s and %s both have %.80s", prove->clones[j].name,
                                  prove->clones[i].name, fact(&prove->clones[i], key));
    return NULL;
}

static char *find_lacking(const Prove *prove, const char *key, size_t *lacking) {
    const char *name = "";

    *lacking = 0;
    for (size_t i = 0; i < prove->count; i++)
        if (!fact(&prove->clones[i], key)) {
            (*lacking)++;
            name = prove->clones[i].name;
        }
    return *lacking ? str_format("%s has none", name) : NULL;
}

void prove_check_distinct(Prove *prove, const char *key, const char *what, bool optional) {
    _cleanup_free_ char *title = str_format("%s distinct", what), *problem = NULL;
    _cleanup_free_ char *good = str_format("%zu different ones", prove->count);
    size_t lacking;

    problem = find_lacking(prove, key, &lacking);
    if (optional && lacking == prove->count) {
        free(problem);
        problem = NULL;
        prove_add(prove, title, NULL, "the image has none");
        return;
    }
    if (!problem)
        problem = find_same(prove, key);
    prove_add(prove, title, problem, good);
}

/* With a user-mode network each clone is alone in a network of its own, and all have the same
 * address there. */
void prove_check_addresses(Prove *prove) {
    const char *network = prove->count ? fact(&prove->clones[0], "network") : NULL;

    if (str_equal(network, "user"))
        prove_add(prove, "address distinct", NULL, "private: each is alone in its own network");
    else if (!network || str_equal(network, "none"))
        prove_add(prove, "address distinct", NULL, "the VM has no network");
    else
        prove_check_distinct(prove, "ip", "address", false);
}

void prove_check_clocks(Prove *prove) {
    _cleanup_free_ char *problem = NULL, *good = NULL;
    double worst = 0;

    for (size_t i = 0; i < prove->count; i++) {
        const ProveClone *clone = &prove->clones[i];

        worst = MAX_OF(worst, clone->most_ms);
        worst = MAX_OF(worst, -clone->least_ms);
        if (!problem && (clone->least_ms < -CLOCK_LIMIT_MS || clone->most_ms > CLOCK_LIMIT_MS))
            problem = str_format("%s is ahead of the host by %.1f to %.1f ms", clone->name,
                                 clone->least_ms, clone->most_ms);
    }
    good = str_format("off by %.1f ms at the most, doubt of the measurement included", worst);
    prove_add(prove, "clock within 50 ms of the host's", problem, good);
}

/* A guest that had rebooted would have another nonce in its memory, a counter that began anew, and
 * would be up for less time than the clone exists. */
static char *find_reboot(const Prove *prove, const ProveClone *clone) {
    const char *nonce = snapshot_text(&prove->snapshot, "ram_nonce"), *boot = fact(clone, "boot");
    double up = fact(clone, "uptime") ? strtod(fact(clone, "uptime"), NULL) : 0;
    double since = json_number_value(json_object_get(clone->facts, "since_fork_us")) / 1e6;
    json_int_t counter = json_integer_value(json_object_get(clone->facts, "counter"));

    if (!str_equal(boot, "forked") && !str_equal(boot, "claimed"))
        return str_format("%s came up %s", clone->name, boot ? boot : "nobody knows how");
    if (!str_equal(fact(clone, "ram_nonce"), nonce))
        return str_format("%s has another nonce in its memory", clone->name);
    if (counter <= (json_int_t)snapshot_u64(&prove->snapshot, "counter"))
        return str_format("the counter in %s's memory did not go on", clone->name);
    if (up <= since)
        return str_format("%s is up for %.2f s, and was asked for %.2f s ago", clone->name, up,
                          since);
    return NULL;
}

void prove_check_restored(Prove *prove) {
    _cleanup_free_ char *problem = NULL;

    for (size_t i = 0; i < prove->count && !problem; i++)
        problem = find_reboot(prove, &prove->clones[i]);
    prove_add(prove, "restored, not rebooted", problem,
              "nonce and counter in memory, and uptime, go on");
}
