/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_COPY_ARCHIVE_H
#define RAMET_CLI_COPY_ARCHIVE_H

/* The host's side of `ramet cp`: the agent's code for tar streams, which knows hostile archives.
 * Only ramet-tar links this, a helper program that `ramet cp` starts: so a hostile archive meets a
 * process of its own, which outlives an interrupted client for as long as it takes to clean up. */

#include <stdint.h>

#include "base/error.h"

/* Writes PATH, with what is below it, as a pax archive: modes, times, symbolic and hard links,
 * holes. Flags: COPY_FOLLOW. What cannot be copied while all else was is an error at the end. */
int archive_create(const char *path, uint64_t flags, int out_fd, Error *error);

/* Extracts the archive's single top-level entry to PATH, as cp -r does: into it when it is a
 * folder, else with its name. Never writes elsewhere, whatever the archive holds: absolute names,
 * "..", a second top-level entry, and names that lead through a symbolic link are refused. Device
 * nodes and set-id bits are left out, which is an error at the end. What is half made is removed
 * again. Flags: COPY_INTO_FOLDER. */
int archive_extract(int in_fd, const char *path, uint64_t flags, Error *error);

#endif
