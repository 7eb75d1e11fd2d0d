/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_COPY_ARCHIVE_H
#define RAMET_CLI_COPY_ARCHIVE_H

/* The host's side of `ramet cp`: tar streams by libarchive. Only ramet-tar links this, a helper
 * program that `ramet cp` starts: loading libarchive with all that it needs takes 1.7 ms, which
 * every `ramet exec` would pay. And a hostile archive meets a process of its own. */

#include "base/error.h"

/* Writes PATH, with what is below it, as a pax archive with the one top-level entry `name`: modes,
 * times, symbolic and hard links, holes. Owners are 0. Sockets are left out. */
int archive_create(const char *path, const char *name, int out_fd, Error *error);

/* Extracts the archive's single top-level entry into the folder, under `name` (NULL: its own).
 * Never writes outside of folder/name, whatever the archive holds: absolute names, "..", a second
 * top-level entry, and names that lead through a symbolic link are ERROR_CORRUPT. Device nodes are
 * left out, and set-id bits. What was not there before is removed again on failure. Changes the
 * working folder of the process. */
int archive_extract(int in_fd, const char *folder, const char *name, Error *error);

#endif
