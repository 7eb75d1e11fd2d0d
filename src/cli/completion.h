/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_COMPLETION_H
#define RAMET_CLI_COMPLETION_H

#include <stdio.h>

/* A shell's completions, made from the table of verbs. */
void completion_print_bash(FILE *stream);
void completion_print_zsh(FILE *stream);
void completion_print_fish(FILE *stream);

#endif
