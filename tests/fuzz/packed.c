/* SPDX-License-Identifier: Apache-2.0 */

/* Compressed memory of any bytes: never more than was asked for, whatever the frame says. */

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "frozen/packed.h"

#define BYTES ((uint64_t)65536)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_close_ int from = memfd_create("from", MFD_CLOEXEC), to = memfd_create("to", 0);
    char sha256[SHA256_HEX_SIZE];
    if (from < 0 || to < 0 || fd_pwrite_full(from, data, size, 0) < 0)
        return 0;
    (void)packed_read(from, BYTES, to, sha256, NULL);
    if ((uint64_t)lseek(to, 0, SEEK_END) > BYTES)
        abort();
    return 0;
}
