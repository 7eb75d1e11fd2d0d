/* SPDX-License-Identifier: Apache-2.0 */

#include "memory/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "memory/copy.h"

#define NEEDED_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)
#define BASE_SEALS (NEEDED_SEALS | F_SEAL_SEAL)

int memory_seal_base(int base_fd, uint64_t size_bytes, const char *name, int *memfd, Error *error) {
    _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot make a memfd");
    int r =
        ftruncate(fd, (off_t)size_bytes) < 0 ? -errno : memory_copy_data(base_fd, fd, size_bytes);
    if (r >= 0 && fcntl(fd, F_ADD_SEALS, BASE_SEALS) < 0)
        r = -errno;
    if (r < 0)
        return error_set_errno(error, -r, "cannot fill and seal a memory base");
    *memfd = TAKE_FD(fd);
    return 0;
}

bool memory_is_sealed(int fd) {
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & NEEDED_SEALS) == NEEDED_SEALS;
}
