/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LAB_LAB_WARM_H
#define RAMET_LAB_LAB_WARM_H

#include "home/home.h"

/* Tells the home how copies of labs' snapshots are made for its pools. Before reconcile. */
void lab_warm_register(Home *home);

#endif
