/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROVE_GUEST_H
#define RAMET_PROVE_GUEST_H

#include "prove/proof.h"

#define CLOCK_LIMIT_MS 50.0 /* how far a clone's clock may be off the host's */

/* Runs a shell's script. *out (may be NULL), what it said, is the caller's; that it fails is an
 * error. */
int guest_script(const Proof *proof, const char *vm, const char *script, char **out, Error *error);

/* The facts of all clones, random bytes first, and how far their clocks are off. */
int guest_ask_all(Proof *proof, Error *error);

/* Writes the mark to the clone's memory and disk. */
int guest_write_mark(Proof *proof, const char *vm, const char *mark, Error *error);

/* Which mark the VM sees in its memory and on its disk: "MARK MARK". *mark is the caller's. */
int guest_read_mark(Proof *proof, const char *vm, char **mark, Error *error);

#endif
