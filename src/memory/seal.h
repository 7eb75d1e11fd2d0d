/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_SEAL_H
#define RAMET_MEMORY_SEAL_H

/* A memory base in a memfd that the kernel lets nobody write, shrink or grow again
 * (memfd_create(2), fcntl(2) F_ADD_SEALS). QEMU before 8.2 opens its memory file read-write even
 * for a private mapping; a sealed memfd takes that open and still cannot be changed, whoever tries.
 */

#include <stdbool.h>

/* 0 or a negative errno: -EBUSY while somebody maps it to write. */
int memory_seal(int fd);

/* Do the seals SEAL_WRITE, SHRINK and GROW all hold? */
bool memory_is_sealed(int fd);

#endif
