/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_UNKNOWN_VERB_H
#define RAMET_CLI_UNKNOWN_VERB_H

/* What to do instead of an unknown verb ("image lsit"), such as "did you mean ramet image ls?";
 * NULL when nothing is near. The caller owns it. */
char *suggest_verb(const char *words);

#endif
