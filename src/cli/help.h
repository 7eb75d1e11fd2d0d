/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_HELP_H
#define RAMET_CLI_HELP_H

#include <stdio.h>

#include "cli/verbs.h"

/* `ramet --help`, `ramet GROUP --help`, `ramet VERB --help`. */
void help_print_all(FILE *stream);
void help_print_group(FILE *stream, const VerbGroup *group);
void help_print_verb(FILE *stream, const Verb *verb);

/* "ramet a, ramet b": other names of the verb; NULL when it has none. The caller owns it. */
char *help_verb_aliases(const Verb *verb);

/* What an option does, and its other names. The caller owns it. */
char *help_option_text(const VerbOption *option);

/* What the exit statuses mean, one a line as "STATUS\tMEANING"; shared by help and man. */
extern const char *const help_exit_statuses[];

#endif
