/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/verbs.h"

#include <string.h>

#include "base/str.h"
#include "cli/verb_rows.h"

#define ROW(name) &verb_##name,
const Verb *const verbs[] = {VERBS(ROW)};
const size_t n_verbs = ARRAY_SIZE(verbs);

const VerbGroup verb_groups[] = {
    {"daemon", "the daemon that keeps the VMs"},
    {"image", "images, the frozen bases of VMs"},
    {"lab", "VMs and the networks between them, as one thing"},
    {"network", "networks that VMs are in together"},
    {"pool", "warm clones, made ahead of time"},
    {"port", "ports of this host that lead to VMs"},
    {"seed", "frozen folders, over which VMs have disks"},
    {"snapshot", "frozen VMs, from which others grow"},
    {"volume", "disks that outlive VMs"},
};
const size_t n_verb_groups = ARRAY_SIZE(verb_groups);

const Verb *verb_find(const char *name) {
    for (size_t i = 0; i < n_verbs; i++)
        if (str_equal(verbs[i]->name, name) || word_is_in(verbs[i]->aliases, name, strlen(name)))
            return verbs[i];
    return NULL;
}

void verb_each_name(VerbNameHandler each, void *data) {
    for (size_t i = 0; i < n_verbs; i++) {
        each(data, verbs[i]->name, verbs[i]);
        for (const char *p = verbs[i]->aliases; p && *p;) {
            size_t n = strcspn(p, "|");
            _cleanup_free_ char *alias = str_format("%.*s", (int)n, p);
            each(data, alias, verbs[i]);
            p += n + (p[n] == '|');
        }
    }
}

const VerbGroup *verb_group_find(const char *name) {
    for (size_t i = 0; i < n_verb_groups; i++)
        if (str_equal(verb_groups[i].name, name))
            return &verb_groups[i];
    return NULL;
}
