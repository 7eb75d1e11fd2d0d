/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_VMDK_H
#define RAMET_DISK_VMDK_H

#include "base/error.h"

/* Is it a VMDK that is one whole disk in this one file? ERROR_UNSUPPORTED: it leads to other files;
 * ERROR_CORRUPT. */
int vmdk_check(int fd, Error *error);

#endif
