/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_ROOTFS_ROOTFS_TOOLS_H
#define RAMET_DISK_ROOTFS_ROOTFS_TOOLS_H

/* The programs of e2fsprogs. */

#include "base/error.h"
#include "base/str.h"

/* Runs one. epoch_sec: what it takes for the time; 0: what it is. ERROR_NO_SPACE when the host's
 * disk or the new file system is full; else ERROR_FAILED with what it said. */
int rootfs_run_tool(const StrList *argv, uint64_t epoch_sec, int cancel_fd, Error *error);

/* ERROR_UNSUPPORTED, with the Debian package in the hint, when it is not installed. */
int rootfs_require_tool(const char *name, const char *package, Error *error);

#endif
