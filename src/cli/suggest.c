/* SPDX-License-Identifier: Apache-2.0 */
/* Near is what differs in two letters at most, and in less than half of them. */

#include "cli/suggest.h"

#include <string.h>

#include "base/str.h"

#define DISTANCE_MAX 2

static size_t least(size_t a, size_t b, size_t c) {
    size_t both = MIN_OF(a, b);
    return MIN_OF(both, c);
}

/* Optimal string alignment: rows[i][j] is the distance of the first i letters of a and j of b. */
size_t suggest_distance(const char *a, const char *b) {
    size_t rows[SUGGEST_WORD_MAX + 1][SUGGEST_WORD_MAX + 1], n = strlen(a), m = strlen(b);
    if (n > SUGGEST_WORD_MAX || m > SUGGEST_WORD_MAX)
        return SIZE_MAX;
    for (size_t i = 0; i <= n; i++)
        rows[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            rows[i][j] = least(rows[i - 1][j] + 1, rows[i][j - 1] + 1,
                               rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                rows[i][j] = MIN_OF(rows[i][j], rows[i - 2][j - 2] + 1);
        }
    return rows[n][m];
}

Nearest suggest_nearest(const char *word) {
    size_t half = (strlen(word) + 1) / 2;
    size_t bound = MIN_OF((size_t)DISTANCE_MAX + 1, half);
    return (Nearest){.word = word, .distance = bound};
}

void suggest_offer(Nearest *nearest, const char *candidate, const char *name) {
    size_t distance = suggest_distance(nearest->word, candidate);
    if (distance >= nearest->distance)
        return;
    nearest->distance = distance;
    (void)snprintf(nearest->found, sizeof(nearest->found), "%s", name);
}

static const struct {
    const char *name;
    const char *advice;
} option_advice[] = {
    {"entrypoint", "name the program after the image: ramet run IMAGE -- PROGRAM"},
    {"expose", "every port of a VM is open; -p HOST:GUEST leads one of the host's to it"},
    {"mount", "the host's folders are not shared with VMs; copy them with ramet cp"},
    {"privileged", "a VM is root on a machine of its own; nothing is to be allowed"},
    {"restart", "try ramet restart VM"},
};

static void offer_option(void *data, const VerbOption *option) {
    suggest_offer(data, option->name, option->name);
}

char *suggest_option(const Verb *verb, const char *name, size_t length) {
    _cleanup_free_ char *word = str_format("%.*s", (int)MIN_OF(length, (size_t)64), name);
    Nearest nearest = suggest_nearest(word);
    verb_each_option(verb, offer_option, &nearest);
    if (*nearest.found)
        return str_format("did you mean --%s?", nearest.found);
    for (size_t i = 0; i < ARRAY_SIZE(option_advice); i++)
        if (str_equal(option_advice[i].name, word))
            return str_copy(option_advice[i].advice);
    return NULL;
}

char *suggest_letter(const Verb *verb, char letter) {
    switch (letter) {
    case 'v':
        return str_copy("for the version: ramet version; the host's folders are not shared with "
                        "VMs, but copied with ramet cp");
    case 'h':
        return str_copy("try --help");
    default:
        return suggest_option(verb, (const char[]){letter, '\0'}, 1);
    }
}
