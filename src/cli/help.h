/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_HELP_H
#define RAMET_CLI_HELP_H

/* Everything that is made from the table of verbs besides the parser. */

#include <stdio.h>

#include "cli/verb.h"

/* `ramet --help`, `ramet GROUP --help`, `ramet VERB --help`. */
void help_print_all(FILE *stream);
void help_print_group(FILE *stream, const VerbGroup *group);
void help_print_verb(FILE *stream, const Verb *verb);

/* Man pages (man(7)): ramet.1, one for a group, one for a verb. */
void man_print_all(FILE *stream);
void man_print_group(FILE *stream, const VerbGroup *group);
void man_print_verb(FILE *stream, const Verb *verb);

/* Completions. */
void completion_print_bash(FILE *stream);
void completion_print_zsh(FILE *stream);
void completion_print_fish(FILE *stream);

/* `ramet --generate man|bash|zsh|fish FOLDER` writes them all into the folder. */
int help_generate(const char *what, const char *folder, Error *error);

/* "ramet-image-build.1" of "image build". The caller owns it. */
char *man_file_name(const char *verb);

/* What the exit statuses mean, one a line as "STATUS\tMEANING"; shared by help and man. */
extern const char *const help_exit_statuses[];

#endif
