/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_USAGE_USAGE_COLLECT_H
#define RAMET_USAGE_USAGE_COLLECT_H

#include "base/error.h"
#include "home/home.h"
#include "usage/usage.h"

/* Reads a home: all that takes room in it, and what stands on what. Others may go on working in it,
 * so what it says may be a moment old. */
int usage_collect(Home *home, Usage *usage, Error *error);

#endif
