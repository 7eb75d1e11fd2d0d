/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_HOST_H
#define RAMET_HOME_HOST_H

#include "base/error.h"
#include "home/home.h"
#include "qemu/features.h"

/* QEMU and accelerator, probed once. *features is the caller's (qemu_features_free), *accel
 * static. */
int host_probe(Home *home, QemuFeatures *features, const char **accel, Error *error);

#endif
