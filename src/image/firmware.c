/* SPDX-License-Identifier: Apache-2.0 */
#include "image/firmware.h"

#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "disk/boot_loader.h"

#define KERNEL "kernel"

int firmware_check_word(const char *wanted, Error *error) {
    if (!wanted || !*wanted || str_equal(wanted, KERNEL) || firmware_is(wanted))
        return 0;
    return error_set(error, ERROR_USAGE, EINVAL, "\"%.16s\" boots nothing: bios, uefi or kernel",
                     wanted);
}

static int refuse(const char *wanted, Error *error) {
    error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "the disk has no boot loader for %s",
              str_equal(wanted, FIRMWARE_UEFI) ? "UEFI" : "a BIOS");
    error_set_hint(error, "with --boot kernel it is booted by a kernel of Ramet's");
    return -ENOTSUP;
}

int firmware_choose(const char *path, const char *wanted, const char **firmware, Error *error) {
    BootLoader loader = {0};
    _cleanup_close_ int fd = -1;
    bool any = !wanted || !*wanted;
    *firmware = "";
    if (str_equal(wanted, KERNEL))
        return 0;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    int r = boot_loader_find(fd, &loader, error);
    if (r < 0)
        return r;
    if (loader.bios && (any || str_equal(wanted, FIRMWARE_BIOS)))
        *firmware = FIRMWARE_BIOS;
    else if (loader.uefi && (any || str_equal(wanted, FIRMWARE_UEFI)))
        *firmware = FIRMWARE_UEFI;
    return any || **firmware ? 0 : refuse(wanted, error);
}
