/* SPDX-License-Identifier: Apache-2.0 */

/* The machine, the CPU model and the kernel's command line. Each choice is reasoned and measured in
 * docs/cold-boot.md. All but the command line are part of a snapshot's key: a change here makes old
 * snapshots unusable, so it is a change of format. */

#include "base/str.h"
#include "qemu/argv.h"

const char *qemu_machine_options(const char *machine, const char *accel) {
    if (!str_equal(machine, "microvm") || (!str_equal(accel, "tcg") && !str_equal(accel, "kvm")))
        return NULL;
    return "microvm,x-option-roms=off,auto-kernel-cmdline=off,suppress-vmdesc=on";
}

const char *qemu_default_cpu(const char *accel) {
    return str_equal(accel, "kvm") ? "host" : "qemu64";
}

const char *qemu_default_cmdline(const char *accel) {
    if (str_equal(accel, "kvm"))
        return "console=ttyS0 quiet panic=-1 cryptomgr.notests";
    return "console=ttyS0 quiet panic=-1 cryptomgr.notests mitigations=off";
}
