/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_QEMU_ARGV_H
#define RAMET_QEMU_ARGV_H

/* QEMU's command line. QEMU opens none of our paths: disks come as descriptor sets, memory, kernel
 * and initramfs as /proc/self/fd/N, the monitor, the agent's channel and the console as sockets.
 *
 * All numbers here are descriptors as QEMU will see them (the `to` of SpawnFd), 3 or above, -1 for
 * none. They must arrive without FD_CLOEXEC, which spawn_process sees to. */

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"

#define QEMU_DISKS_MAX 8
#define QEMU_CHAIN_MAX 64
#define QEMU_FORWARDS_MAX 64

/* Names that QMP commands use: the netdev and the network card (set_link). */
#define QEMU_NETDEV_ID "net0"
#define QEMU_NIC_ID "nic0"
#define QEMU_AGENT_PORT "org.ramet.agent.0"

/* The user-mode network: the guest's address, its gateway and its name server. */
#define QEMU_USER_NET "10.0.2.0/24"
#define QEMU_USER_GUEST "10.0.2.15"
#define QEMU_USER_GATEWAY "10.0.2.2"
#define QEMU_USER_DNS "10.0.2.3"
#define QEMU_USER_PREFIX 24

/* One file of a disk's chain. */
typedef struct QemuDiskFile {
    int fd;         /* opened for reading; every file needs one, the overlay too: it is what the
                       overlay is read through once a snapshot has frozen it */
    int fd_write;   /* opened for reading and writing; -1 for all but a writable overlay */
    char format[8]; /* "qcow2" or "raw" */
} QemuDiskFile;

typedef struct QemuDisk {
    char serial[21]; /* at most 20 bytes, [A-Za-z0-9_.-] */
    bool read_only;
    size_t n_files; /* overlay first, base last */
    QemuDiskFile files[QEMU_CHAIN_MAX];
} QemuDisk;

typedef struct QemuForward {
    char host_ip[16];
    uint16_t host_port;
    uint16_t guest_port;
    bool udp;
} QemuForward;

typedef enum QemuNetwork {
    QEMU_NETWORK_NONE, /* the card, if there is one, has no cable */
    QEMU_NETWORK_USER,
    QEMU_NETWORK_TAP,
} QemuNetwork;

typedef struct QemuConfig {
    const char *binary;  /* borrowed; argv[0] */
    const char *accel;   /* borrowed; "kvm" or "tcg" */
    const char *machine; /* borrowed; "microvm" (the only one for now) */
    const char *cpu;     /* borrowed; NULL: qemu_default_cpu(accel) */
    uint64_t memory_bytes;
    unsigned cpus;

    int memory_fd; /* the base of the memory overlay */
    bool
        memory_readonly_rom; /* the probe found readonly=on,rom=off: the base is opened read-only */

    size_t n_disks;
    QemuDisk disks[QEMU_DISKS_MAX];

    bool network_card; /* part of the device list, so also of a snapshot's key */
    uint8_t mac[6];
    QemuNetwork network;
    int tap_fd;
    size_t n_forwards;
    QemuForward forwards[QEMU_FORWARDS_MAX];

    bool incoming;       /* wait for a device state; kernel, initrd and cmdline are not used then */
    int kernel_fd;       /* uncompressed vmlinux with a PVH note, or a bzImage */
    int initrd_fd;       /* -1: none */
    const char *cmdline; /* borrowed; NULL: qemu_default_cmdline(accel) */

    int qmp_fd; /* connected stream sockets */
    int agent_fd;
    int console_fd; /* -1: no serial console. Also a snapshot's device list depends on it */
} QemuConfig;

/* All descriptors -1, everything else 0. */
void qemu_config_init(QemuConfig *config);

/* Checks the configuration (ERROR_USAGE) and appends the whole command line, argv[0] included. */
int qemu_build_argv(const QemuConfig *config, StrList *argv, Error *error);

/* The CPU model and the kernel's command line that boot fastest, "console=ttyS0 …" included. How
 * they were found: docs/cold-boot.md. Static strings. The CPU model is part of a snapshot's key. */
const char *qemu_default_cpu(const char *accel);
const char *qemu_default_cmdline(const char *accel);

/* The rate of the host's time stamp counter, which is also that of an emulated guest, in kHz; 0
 * when it cannot be told. Takes 10 ms. qemu_default_cmdline gives it to emulated guests, since a
 * guest that measures it itself against the emulated timer chip fails to on a busy host, and then
 * hangs (docs/cold-boot.md). */
unsigned qemu_measure_tsc_khz(void);

/* The machine with its options as given to -M, without the memory backend. Part of a snapshot's
 * key. Static string; NULL for an unknown machine or accelerator. */
const char *qemu_machine_options(const char *machine, const char *accel);

/* The node of layer `layer` (0: overlay) of disk `disk`, for blockdev commands: "disk0-0"; and the
 * descriptor set that its file is opened from. Sets that are added later over QMP must use other
 * numbers: QEMU_FDSET_FREE and above are never used here. */
#define QEMU_NODE_NAME_SIZE 32
void qemu_disk_node(size_t disk, size_t layer, char name[QEMU_NODE_NAME_SIZE]);
unsigned qemu_disk_fdset(size_t disk, size_t layer);
#define QEMU_FDSET_FREE 1000u

#endif
