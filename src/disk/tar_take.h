/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_TAR_TAKE_H
#define RAMET_DISK_TAR_TAKE_H

#include "disk/source.h"

/* Takes the regular files out of a tar whose names `wanted` accepts ("./" in front left away); all
 * else is passed over. It must accept no name that leads out of `folder`, in which their folders
 * are and nothing else is. ERROR_CORRUPT (damaged, a name twice), ERROR_NO_SPACE, ERROR_CANCELLED.
 */
int tar_take(ExtractSource *source, const char *folder, bool (*wanted)(const char *name),
             int cancel_fd, Error *error);

#endif
