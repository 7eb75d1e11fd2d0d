/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_VERBS_H
#define RAMET_CLI_VERBS_H

/* The table of verbs. */

#include "cli/verb.h"

/* A word that only groups verbs: "image", "daemon". */
typedef struct VerbGroup {
    const char *name;
    const char *summary;
} VerbGroup;

/* All verbs, sorted by name; and the groups. */
extern const Verb *const verbs[];
extern const size_t n_verbs;
extern const VerbGroup verb_groups[];
extern const size_t n_verb_groups;

/* By name or alias; NULL when there is none. */
const Verb *verb_find(const char *name);
const VerbGroup *verb_group_find(const char *name);

/* Calls `each` for every name and alias of every verb. */
typedef void (*VerbNameHandler)(void *data, const char *name, const Verb *verb);
void verb_each_name(VerbNameHandler each, void *data);

#endif
