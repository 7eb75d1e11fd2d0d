/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_LAUNCH_FILES_H
#define RAMET_RUN_LAUNCH_FILES_H

#include "base/error.h"
#include "proto/plan.h"

#define LAUNCH_FILES_MAX 448

/* Descriptors that travel with the plan, in the order of its indexes. */
typedef struct LaunchFiles {
    int fds[LAUNCH_FILES_MAX]; /* owned */
    size_t count;
} LaunchFiles;

/* Takes fd over. There is room for all that a plan has without disks; launch_files_have_room says
 * whether there is for those. */
PlanFd launch_files_add(LaunchFiles *files, int fd);
bool launch_files_have_room(const LaunchFiles *files, size_t count);

/* Opens and adds it. */
int launch_files_open(LaunchFiles *files, int dir_fd, const char *path, int flags, PlanFd *index,
                      Error *error);

void launch_files_close(LaunchFiles *files);

#endif
