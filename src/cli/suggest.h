/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_SUGGEST_H
#define RAMET_CLI_SUGGEST_H

/* What somebody meant who typed something that there is not: a word that is nearly one of ours, or
 * one that other tools have. */

#include "cli/verb.h"

/* How many letters must be changed, added, left out or swapped with their neighbour to make b of a;
 * for words of up to 32 letters, else SIZE_MAX. */
size_t suggest_distance(const char *a, const char *b);

/* The nearest of what was offered so far. */
#define SUGGEST_WORD_MAX 32
typedef struct Nearest {
    const char *word; /* borrowed: what was typed */
    size_t distance;
    char found[2 * SUGGEST_WORD_MAX + 2]; /* "": nothing is near */
} Nearest;
Nearest suggest_nearest(const char *word);

/* Like `candidate`, one would write `name`. */
void suggest_offer(Nearest *nearest, const char *candidate, const char *name);

/* What to do instead of an unknown option of the verb, without its dashes, such as "did you mean
 * --name?"; NULL when nothing is near. The caller owns it. */
char *suggest_option(const Verb *verb, const char *name, size_t length);

/* For one letter. */
char *suggest_letter(const Verb *verb, char letter);

#endif
