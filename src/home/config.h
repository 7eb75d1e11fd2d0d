/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_CONFIG_H
#define RAMET_HOME_CONFIG_H

#include "base/error.h"

typedef struct Home Home;

/* HOME/config.json and the environment. */
int config_load(Home *home, Error *error);

#endif
