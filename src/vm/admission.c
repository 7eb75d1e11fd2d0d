/* SPDX-License-Identifier: Apache-2.0 */

/* Is there room for another VM? Copy-on-write is there to promise more than there is, so nothing is
 * reserved; but a VM that could not even boot once is refused before it harms the others. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "vm/internal.h"

#define DISK_LEAST_BYTES (64 * MIB)

static int read_available(uint64_t *bytes) {
    _cleanup_fclose_ FILE *file = fopen("/proc/meminfo", "re");
    unsigned long long kib;
    char line[256];

    if (!file)
        return -errno;
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1) {
            *bytes = kib * KIB;
            return 0;
        }
    }
    return -ENOENT;
}

int admission_check_memory(uint64_t wanted_bytes, Error *error) {
    uint64_t available;

    if (read_available(&available) < 0 || wanted_bytes <= available)
        return 0;
    error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory (wanted %llu MiB, %llu free)",
              (unsigned long long)(wanted_bytes / MIB), (unsigned long long)(available / MIB));
    error_set_hint(error, "try --memory");
    return -ENOMEM;
}

int admission_check_disk(const Ramet *ramet, Error *error) {
    struct statvfs info;
    uint64_t free_bytes;

    if (statvfs(ramet->home, &info) < 0)
        return error_set_errno(error, errno, "cannot look at the file system of %s", ramet->home);
    free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    if (free_bytes >= DISK_LEAST_BYTES)
        return 0;
    error_set(error, ERROR_NO_SPACE, ENOSPC, "the disk of %s is full (%llu MiB free, %llu needed)",
              ramet->home, (unsigned long long)(free_bytes / MIB),
              (unsigned long long)(DISK_LEAST_BYTES / MIB));
    error_set_hint(error, "remove VMs or images, or set RAMET_HOME to a larger disk");
    return -ENOSPC;
}
