/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_PLAN_H
#define RAMET_PROTO_PLAN_H

/* The plan of one start of a VM: all that the keeper must know, and nothing that it has to look up.
 * The daemon makes it, sends it as JSON with the open files beside it, and the keeper follows it.
 * The keeper opens no path of the daemon's: it runs as another user and under seccomp. */

#include <stdbool.h>

#include "base/json.h"
#include "base/path.h"
#include "base/ssh_key.h"
#include "proto/ssh_line.h"

#define PLAN_FORMAT 6 /* changes with what a keeper of another version would misread */
#define PLAN_DISKS_MAX 8
#define PLAN_CARDS_MAX 4
#define PLAN_CHAIN_MAX 64 /* files of one disk: the overlay and what is below it */
#define PLAN_FORWARDS_MAX 64
#define PLAN_PATCHES_MAX 4

/* Indexes into the descriptors that travel with the plan. */
typedef int PlanFd;
#define PLAN_NO_FD (-1)

/* One file of a disk's chain, overlay first, base last. */
typedef struct PlanDiskFile {
    PlanFd fd;       /* opened for reading */
    PlanFd fd_write; /* the same file opened read-write; only for the overlay, PLAN_NO_FD below */
    char format[8];  /* "qcow2" or "raw" */
} PlanDiskFile;

typedef struct PlanDisk {
    char serial[21]; /* virtio-blk serial, tells the agent what it is: "root", "seed-…" */
    bool read_only;
    bool outlives; /* the VM, and so does what its guest has written to it */
    size_t n_files;
    PlanDiskFile files[PLAN_CHAIN_MAX];
} PlanDisk;

/* A port of the host that leads into the guest: in specifications, too. */
typedef struct PortForward {
    char host_ip[16];
    uint16_t host_port; /* in a specification 0: any free one, chosen before the VM is made */
    uint16_t guest_port;
    bool udp;
} PortForward;

typedef struct PortForwards {
    size_t count;
    PortForward items[PLAN_FORWARDS_MAX];
} PortForwards;

typedef enum PlanNetworkMode {
    PLAN_NETWORK_NONE,
    PLAN_NETWORK_TAP,
    PLAN_NETWORK_DGRAM
} PlanNetworkMode;

/* A network card. It is there without a network, too, so that all VMs have one device list. */
typedef struct PlanCard {
    PlanNetworkMode network;
    bool unplugged; /* its cable stays out: the state of a clone wants a network, the VM has none */
    bool user_state; /* the state, an earlier version's, has the section of a user-mode network, and
                        wants one */
    PlanFd fd;       /* TAP: the device. DGRAM: QEMU's end of a pair of datagram sockets */
    PlanFd peer_fd;  /* DGRAM: the other end, which the keeper keeps for whoever forwards frames */
    uint8_t mac[6];
} PlanCard;

/* What a card is to be called; empty: no address. */
typedef struct PlanAddress {
    uint8_t mac[6];
    char ip[16];
    unsigned prefix;
    char gateway[16]; /* empty: no way out by it */
    char ip6[46];
    unsigned prefix6;
    char gateway6[46];
} PlanAddress;

typedef struct PlanIdentity {
    char hostname[64];
    char machine_id[33];
    char boot_id[37];  /* empty on a cold boot: the kernel's own is fresh */
    PlanAddress first; /* card */
    size_t n_further;
    PlanAddress further[PLAN_CARDS_MAX - 1]; /* of its other cards */
    char dns[16];
    size_t n_further_dns;
    char further_dns[PLAN_CARDS_MAX - 1][16];
    char search[128]; /* domain of names without dots; empty: none */
    bool new_ssh_keys;
    char ssh_key[SSH_PRIVATE_KEY_SIZE]; /* of the server's new keys (base/ssh_key.h); empty: the
                                           guest makes them */
    char ssh_public_key[SSH_PUBLIC_KEY_SIZE];
    char home_key[SSH_PUBLIC_KEY_SIZE]; /* whose owner may log in where there is a server */
    char authorized_keys[SSH_AUTHORIZED_KEYS_SIZE]; /* lines of others who may, asked for */
    char login_user[256]; /* whom they log in as beside root: as EXEC's USER; empty: nobody */
    char mounts[1536]; /* TAG_MOUNT, a line for each; empty: the kernel's command line has them */
    char changed_disk[192]; /* TAG_CHANGED_DISK; empty: none is another one */
    bool run_hooks;
    bool grow_root;
    bool clone; /* false for a cold boot and for a resume: then entropy, clock and network only */
    bool keep;  /* a clone that keeps names, addresses and keys of its source: entropy, clock and
                   boot_id only */
} PlanIdentity;

typedef enum PlanBoot { PLAN_BOOT_COLD, PLAN_BOOT_RESTORE } PlanBoot;

/* What loads the guest's first program: QEMU itself a kernel, or firmware the disk's boot loader. A
 * machine with firmware is a PC with a PCI bus; the other has none. */
typedef enum PlanFirmware {
    PLAN_FIRMWARE_NONE,
    PLAN_FIRMWARE_BIOS,
    PLAN_FIRMWARE_UEFI
} PlanFirmware;

typedef struct Plan {
    char vm_id[33];
    char name[NAME_SIZE];

    /* the machine: all of it is part of a snapshot's key */
    char *qemu;       /* owned: path of the QEMU binary */
    char accel[8];    /* "kvm" or "tcg" */
    char machine[32]; /* as qemu_machine_for() tells */
    char cpu[64];     /* "": the default of the accelerator */
    uint64_t memory_bytes;
    unsigned cpus;
    size_t n_disks;
    PlanDisk disks[PLAN_DISKS_MAX];
    size_t n_cards;
    PlanCard cards[PLAN_CARDS_MAX];

    PlanFirmware firmware;
    PlanFd firmware_fd;  /* UEFI: its code */
    PlanFd variables_fd; /* UEFI: its variables, the VM's own file, opened read-write */
    bool agent_optional; /* a guest in which no agent answers in time is ready without it */

    PlanBoot boot;
    bool kernel_only; /* cold: the guest waits before its disks, and that is all of this start.
                         restore: of such a guest, which then goes on as after a boot, by cmdline */
    /* cold, without firmware */
    PlanFd kernel_fd;
    PlanFd initrd_fd;
    char *cmdline; /* owned */
    /* restore */
    PlanFd state_fd; /* the device state */
    size_t n_patches;
    PlanFd patch_fds[PLAN_PATCHES_MAX]; /* diffs over the memory base, oldest first */
    bool start_paused;                  /* a pool clone: run until the agent answers, then pause */
    uint8_t marker[16];                 /* sync marker that the agent listens for */
    uint8_t ram_nonce[16];              /* what it must answer with */
    uint64_t counter;                   /* and the least counter */
    uint64_t mailbox;                   /* physical address (AgentMailbox); 0: none */

    PlanFd memory_fd;         /* base of the memory overlay: a blank sparse file, or a snapshot's */
    bool memory_readonly_rom; /* the probe found readonly=on,rom=off */

    PlanIdentity identity;

    /* the keeper itself */
    PlanFd console_dir_fd;      /* the VM's folder: console.log and its rotation, qemu.log */
    uint64_t console_max_bytes; /* per file; one older file is kept */
    unsigned uid;               /* 0: stay who we are */
    unsigned gid;
    uint64_t silence_timeout_usec; /* no console byte and no agent for so long: stuck boot */
    uint64_t silence_cpu_usec;     /* … or while QEMU used so much of a processor; 0: no bound */
    uint64_t ready_timeout_usec;
    bool remove_on_exit; /* --rm: end with the client that owns it */
    uint64_t io_bytes;   /* that each disk reads and writes a second; 0: no limit */
    uint64_t io_ops;     /* the same of operations */
} Plan;

/* All descriptors PLAN_NO_FD, everything else 0. */
void plan_init(Plan *plan);
void plan_free(Plan *plan); /* what it owns; does not close anything */

/* JSON and back; from_json bounds and checks everything and n_fds bounds the indexes. The plan must
 * be initialised. */
json_t *plan_to_json(const Plan *plan);
int plan_from_json(const json_t *json, size_t n_fds, Plan *plan, Error *error);

/* A part of a plan, for a claim. */
int plan_identity_from_json(const json_t *json, PlanIdentity *identity, Error *error);

#endif
