/* SPDX-License-Identifier: Apache-2.0 */

#include "run/launch_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/fd.h"

#define BESIDE_DISKS 32

void launch_files_close(LaunchFiles *files) {
    for (size_t i = 0; i < files->count; i++)
        (void)fd_close(files->fds[i]);
    files->count = 0;
}

PlanFd launch_files_add(LaunchFiles *files, int fd) {
    if (files->count == LAUNCH_FILES_MAX)
        abort();
    files->fds[files->count] = fd;
    return (PlanFd)files->count++;
}

bool launch_files_have_room(const LaunchFiles *files, size_t count) {
    return files->count + count + BESIDE_DISKS <= LAUNCH_FILES_MAX;
}

int launch_files_open(LaunchFiles *files, int dir_fd, const char *path, int flags, PlanFd *index,
                      Error *error) {
    int fd = openat(dir_fd, path, flags | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    *index = launch_files_add(files, fd);
    return 0;
}
