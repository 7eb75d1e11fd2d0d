/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TEND_TEND_H
#define RAMET_TEND_TEND_H

/* Does what policies say when their time has come: docs/lifecycle.md. */

#include "home/home.h"

/* Starts the thread; the home ends it. Nothing is done before all VMs were looked at. */
void tend_start(Home *home);

#endif
