/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_QEMU_MACHINE_H
#define RAMET_KEEPER_QEMU_MACHINE_H

/* QEMU as a process that runs (launch.h starts it): its monitor, its console, its end. It dies with
 * the keeper (parent-death signal). Its end is seen on the pidfd, not on the sockets, which may
 * close a little earlier. */

#include "base/json.h"
#include "base/loop.h"
#include "base/process/spawn.h"
#include "keeper/qemu/logfile.h"
#include "keeper/qemu/remap.h"
#include "proto/plan.h"
#include "qemu/argv.h"
#include "qemu/qmp.h"

typedef struct MachineHandlers {
    void (*console_output)(void *data); /* the guest wrote to its console */
    void (*cpus_stopped)(void *data);   /* QMP's STOP, whoever asked for it */
} MachineHandlers;

/* The file that a disk is written to, and QEMU's node for it. */
typedef struct MachineDisk {
    char node[QEMU_NODE_NAME_SIZE];
    dev_t device;
    ino_t inode;
} MachineDisk;

typedef struct Machine {
    Loop *loop;                      /* borrowed */
    const MachineHandlers *handlers; /* borrowed */
    void *data;                      /* borrowed; for the handlers */
    ProcessIdentity process;
    int userfaultfd;     /* owned: of QEMU's memory, for memory/written.h; -1: it gave none */
    Remapping remapping; /* a QEMU that the zygote made can lay other memory under its guest */
    Watched pid;         /* pidfd; closed: there is no QEMU */
    Watched console;
    Watched error_output;
    Qmp *qmp;               /* owned; has its own descriptor */
    LoopSource *qmp_source; /* owned by the loop */
    LogFile console_log;
    LogFile error_log;
    MachineDisk disks[PLAN_DISKS_MAX];
    unsigned last_node;       /* numbers for nodes and descriptor sets that were added, */
    unsigned last_fdset;      /* the latter above QEMU_FDSET_FREE */
    uint64_t stopped_at_usec; /* monotonic: the virtual CPUs stopped, by QEMU's last STOP event */
    char shutdown_reason[32]; /* of QEMU's SHUTDOWN event; "" if there was none */
    const char *killed_for;   /* cause, when the keeper killed it; NULL: it did not */
    bool exited;
} Machine;

/* All closed. The handlers are called from machine_watch on. */
void machine_init(Machine *machine, Loop *loop, const MachineHandlers *handlers, void *data);
void machine_free(Machine *machine);

/* console.log and qemu.log, in that folder (borrowed). */
int machine_open_logs(Machine *machine, int vm_dir_fd, const Plan *plan, Error *error);

/* Has the loop look after console, error output, monitor and end. */
int machine_watch(Machine *machine, Error *error);

/* Runs a command of the monitor; steals the arguments. Result as for qmp_call. */
int machine_call(Machine *machine, const char *command, json_t *arguments, json_t **result,
                 Error *error);

/* Until when QEMU may take to answer, for who uses its monitor directly: no user waits so long. */
uint64_t machine_deadline(void);

/* Looks at the monitor's events; due after any direct use of it. */
void machine_process_events(Machine *machine);

/* The virtual CPUs have stopped, and nobody asked for that. True: the host has no room for what the
 * guest writes. A QEMU that gave up is killed. */
bool machine_lacks_room(Machine *machine);

/* Kills QEMU, unless it has ended. cause: static; the first one counts. */
void machine_kill(Machine *machine, const char *cause);

/* Reads what an ended QEMU left in its console, error output and monitor. */
void machine_drain(Machine *machine);

#endif
