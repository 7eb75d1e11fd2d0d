/* SPDX-License-Identifier: Apache-2.0 */
/* Words of other tools (docker, podman, virsh, systemctl) whose meaning is not quite one of our
 * verbs' are a table of advice; where the meaning is the same, the verb has them as aliases. */

#include "cli/unknown_verb.h"

#include <string.h>

#include "base/str.h"
#include "cli/suggest.h"
#include "cli/verbs.h"

static const struct {
    const char *words;
    const char *advice;
} verb_advice[] = {
    {"attach", "try ramet shell VM for a shell in it, ramet logs -f VM for its console"},
    {"build", "try ramet image build NAME --from busybox"},
    {"commit", "try ramet snapshot create VM NAME"},
    {"console", "try ramet logs -f VM for its console, ramet shell VM for a shell in it"},
    {"destroy", "try ramet kill VM to end it at once, ramet rm -f VM to remove it, too"},
    {"image pull", "try ramet image build NAME --from debian, or ramet image import FILE"},
    {"image prune", "try ramet prune, or ramet image rm IMAGE"},
    {"import", "try ramet image import FILE --name NAME"},
    {"info", "try ramet doctor for the host, ramet inspect VM for a VM"},
    {"load", "try ramet image import FILE --name NAME"},
    {"prove", "did you mean ramet snapshot prove? or, of a lab, ramet lab prove?"},
    {"pull", "try ramet image build NAME --from debian, or ramet image import FILE"},
    {"restore", "try ramet fork SNAPSHOT, or ramet resume VM after ramet standby VM"},
    {"save", "try ramet standby VM, or ramet snapshot create VM NAME"},
    {"snapshot restore", "try ramet fork SNAPSHOT"},
    {"snapshot revert", "try ramet fork SNAPSHOT"},
    {"stats", "try ramet ps, or ramet exec VM -- top"},
    {"status", "try ramet ps -a for VMs, ramet daemon status for the daemon"},
    {"suspend",
     "try ramet pause VM to halt its processors, ramet standby VM to save it to the disk"},
    {"system prune", "try ramet prune"},
    {"top", "try ramet ps for the VMs, ramet exec VM -- top for what runs in one"},
    {"up", "try ramet start VM, or ramet run IMAGE"},
};

static void offer_verb(void *data, const char *name, const Verb *verb) {
    suggest_offer(data, name, verb->name);
}

/* "prove" is "snapshot prove" to many. */
static const Verb *find_in_groups(const char *word) {
    for (size_t i = 0; i < n_verbs; i++) {
        const char *space = strchr(verbs[i]->name, ' ');
        if (space && str_equal(space + 1, word))
            return verbs[i];
    }
    return NULL;
}

char *suggest_verb(const char *words) {
    Nearest nearest = suggest_nearest(words);
    const Verb *grouped = find_in_groups(words);
    for (size_t i = 0; i < ARRAY_SIZE(verb_advice); i++)
        if (str_equal(verb_advice[i].words, words))
            return str_copy(verb_advice[i].advice);
    if (grouped)
        return str_format("did you mean ramet %s?", grouped->name);
    verb_each_name(offer_verb, &nearest);
    for (size_t i = 0; i < n_verb_groups; i++)
        suggest_offer(&nearest, verb_groups[i].name, verb_groups[i].name);
    return *nearest.found ? str_format("did you mean ramet %s?", nearest.found) : NULL;
}
