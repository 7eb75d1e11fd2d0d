/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_MAN_H
#define RAMET_CLI_MAN_H

#include <stdio.h>

#include "cli/verbs.h"

/* Man pages (man(7)): ramet.1, one for a group, one for a verb. */
void man_print_all(FILE *stream);
void man_print_group(FILE *stream, const VerbGroup *group);
void man_print_verb(FILE *stream, const Verb *verb);

/* rametd.8. */
void man_print_daemon(FILE *stream);

/* "ramet-image-build.1" of "image build". The caller owns it. */
char *man_file_name(const char *verb);

#endif
