/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROVE_CHECK_H
#define RAMET_PROVE_CHECK_H

#include "prove/proof.h"

/* Each adds a line to the report, from the clones' facts. */

/* That a member of the facts is there and different in each; optional: it may lack in all. */
void check_distinct(Proof *proof, const char *key, const char *what, bool optional);
void check_addresses(Proof *proof);
void check_clocks(Proof *proof);
void check_restored(Proof *proof);

/* Names what could not be looked at. */
void check_programs(Proof *proof);

#endif
