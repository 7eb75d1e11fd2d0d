/* SPDX-License-Identifier: Apache-2.0 */

/* What is read of an imported disk before a VM boots from it, and of a VMDK before qemu-img does.
 */

#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "disk/boot_loader.h"
#include "disk/vmdk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_close_ int fd = memfd_create("disk", MFD_CLOEXEC);
    _cleanup_error_ Error error = ERROR_INIT;
    BootLoader loader;
    if (fd < 0 || fd_pwrite_full(fd, data, size, 0) < 0)
        return 0;
    (void)boot_loader_find(fd, &loader, &error);
    error_clear(&error);
    (void)vmdk_check(fd, &error);
    return 0;
}
