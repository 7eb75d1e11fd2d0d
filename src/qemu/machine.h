/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_QEMU_MACHINE_H
#define RAMET_QEMU_MACHINE_H

#include <stddef.h>

/* With firmware and a PCI bus. */
#define QEMU_MACHINE_PC "q35"

/* The CPU model and the kernel's command line that boot fastest, "console=ttyS0 …" included. How
 * they were found: docs/cold-boot.md. Static strings. The CPU model is part of a snapshot's key. */
const char *qemu_default_cpu(const char *accel);
const char *qemu_default_cmdline(const char *accel);

/* The machine for so many disks and cards, beside which each VM has the agent's channel:
 * "microvm-8" for 8 virtio devices, or "microvm", which has room for 24 of them and a second
 * interrupt controller for that, 0.7 MiB in each VM. Static string. */
const char *qemu_machine_for(size_t disks, size_t cards);

/* The machine with its options as given to -M, without the memory backend. Part of a snapshot's
 * key. Static string; NULL for an unknown machine or accelerator. */
const char *qemu_machine_options(const char *machine, const char *accel);

/* The machine that has these options, as qemu_machine_options tells them. Static string; NULL for
 * options that no machine here has. */
const char *qemu_machine_with(const char *options, const char *accel);

#endif
