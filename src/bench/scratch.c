/* SPDX-License-Identifier: Apache-2.0 */

#include "bench/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "base/str.h"

#define TOOL_BOUND_USEC (600 * USEC_PER_SEC)

int bench_run_tool(char *const *argv, Error *error) {
    const SpawnOptions options = {.program = argv[0], .argv = argv};
    return spawn_run(&options, TOOL_BOUND_USEC, -1, NULL, error);
}

int bench_scratch_new(const Bench *bench, char **folder, Error *error) {
    _cleanup_free_ char *path = str_format("%s/tmp/bench-%d", bench->home, (int)getpid());
    int r = path_make_folders(path, 0700);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make %s", path);
    *folder = TAKE_PTR(path);
    return 0;
}

void bench_scratch_remove(char **folder) {
    if (*folder)
        (void)path_remove_tree(*folder);
    free(*folder);
}

int bench_sync_path(const char *path, Error *error) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return error_set_errno(error, errno, "cannot flush %s", path);
    return 0;
}

int bench_give_back_room(const char *folder, Error *error) {
    _cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || syncfs(fd) < 0)
        return error_set_errno(error, errno, "cannot flush %s", folder);
    return 0;
}
