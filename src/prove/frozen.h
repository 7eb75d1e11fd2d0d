/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROVE_FROZEN_H
#define RAMET_PROVE_FROZEN_H

#include "prove/proof.h"

/* Remembers inode and digest of all that the snapshot stands on: proof->frozen. ERROR_CORRUPT when
 * it is not what was frozen even before there are clones. */
int frozen_remember(Proof *proof, Error *error);

/* Adds the check that all is as remembered. when: "while they run". */
int frozen_check(Proof *proof, const char *when, Error *error);

/* For the report, after the last check: each file's SHA-256, where only the tree digest was needed.
 */
int frozen_complete(Proof *proof, Error *error);

#endif
