/* SPDX-License-Identifier: Apache-2.0 */

#include "memory/seal.h"

#include <errno.h>
#include <fcntl.h>

#define NEEDED_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

int memory_seal(int fd) {
    return fcntl(fd, F_ADD_SEALS, NEEDED_SEALS | F_SEAL_SEAL) < 0 ? -errno : 0;
}

bool memory_is_sealed(int fd) {
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & NEEDED_SEALS) == NEEDED_SEALS;
}
