/* SPDX-License-Identifier: Apache-2.0 */
#include "frozen/uefi_variables.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

static int copy(const char *from, int dir_fd, mode_t mode, Error *error) {
    _cleanup_free_ char *data = NULL;
    size_t size = 0;
    int r = fd_read_file_at(AT_FDCWD, from, UEFI_VARIABLES_MAX, &data, &size);
    if (r >= 0)
        r = path_write_atomic_at(dir_fd, UEFI_VARIABLES_FILE, data, size, mode);
    return r < 0 ? error_set_errno(error, -r, "cannot copy UEFI's variables from %s", from) : 0;
}

int uefi_variables_open(const Home *home, int dir_fd, const char *snapshot, int *fd, Error *error) {
    _cleanup_free_ char *frozen =
        str_format("%s/snapshots/%s/" UEFI_VARIABLES_FILE, home_path(home), snapshot);
    bool has_frozen = *snapshot && access(frozen, R_OK) == 0;
    int r = 0;
    if (faccessat(dir_fd, UEFI_VARIABLES_FILE, F_OK, 0) < 0)
        r = copy(has_frozen ? frozen : UEFI_VARIABLES, dir_fd, 0600, error);
    if (r < 0)
        return r;
    *fd = openat(dir_fd, UEFI_VARIABLES_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    return *fd < 0 ? error_set_errno(error, errno, "cannot open UEFI's variables") : 0;
}

int uefi_variables_read(const Home *home, const char *vm, UefiVariables *variables, Error *error) {
    _cleanup_free_ char *from = str_format("%s/vms/%s/" UEFI_VARIABLES_FILE, home_path(home), vm);
    int r = variables->data ? 0
                            : fd_read_file_at(AT_FDCWD, from, UEFI_VARIABLES_MAX, &variables->data,
                                              &variables->size);
    return r < 0 && r != -ENOENT ? error_set_errno(error, -r, "cannot read %s", from) : 0;
}

void uefi_variables_free(UefiVariables *variables) {
    free(variables->data);
    *variables = (UefiVariables){0};
}

int uefi_variables_freeze(const Home *home, const UefiVariables *variables, const char *snapshot,
                          Error *error) {
    _cleanup_free_ char *folder = str_format("%s/snapshots/%s", home_path(home), snapshot);
    if (!variables->data)
        return 0;
    int r = path_make_folders(folder, 0711);
    _cleanup_close_ int fd = r < 0 ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, r < 0 ? -r : errno, "cannot open %s", folder);
    r = path_write_atomic_at(fd, UEFI_VARIABLES_FILE, variables->data, variables->size, 0444);
    return r < 0 ? error_set_errno(error, -r, "cannot keep UEFI's variables in %s", folder) : 0;
}
