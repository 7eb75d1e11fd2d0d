/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_TASKS_VM_H
#define RAMET_KEEPER_TASKS_VM_H

/* The one VM of this keeper, as all tasks know it:
 *
 *   WAITING ──start──▶ STARTING ──ready──▶ RUNNING ⇄ PAUSED
 *                         │                   │ stop
 *                         │ error             ▼
 *                       kill ────────────▶ STOPPING ──QEMU's exit──▶ ENDED
 *
 * With start_paused a start ends in WARM instead; a claim leads back to STARTING, and on to
 * RUNNING. QEMU's exit leads to ENDED from any state that has a QEMU. */

#include "keeper/guest/agent_channel.h"
#include "keeper/guest/agent_result.h"
#include "keeper/guest/pulse.h"
#include "keeper/qemu/launch.h"
#include "keeper/tasks/handshake.h"
#include "keeper/tasks/reply.h"

typedef struct Snapshot Snapshot; /* that is being taken; pause.h */
typedef struct Adoption Adoption; /* of the memory of one that was taken; adopt.c */

#define VM_OWNER_SIZE 64

typedef enum VmState {
    VM_WAITING,
    VM_STARTING,
    VM_WARM,
    VM_RUNNING,
    VM_PAUSED,
    VM_STOPPING,
    VM_ENDED,
} VmState;

/* Of a start or a claim; start.c. */
typedef struct Start {
    Reply *reply; /* borrowed; NULL once who asked is gone */
    LoopSource *silence_timer;
    LoopSource *spin_timer;
    LoopSource *ready_timer;
    Error error;               /* why it failed; told once QEMU is gone */
    bool heard;                /* a sign of life came */
    bool loaded;               /* a restore: the device state is in, the virtual CPUs run */
    bool without_agent;        /* it was told to be ready though no agent answers yet */
    uint64_t answered_at_usec; /* the agent's first answer */
    uint64_t ready_at_usec;
} Start;

typedef struct Vm {
    Loop *loop;                                    /* borrowed */
    void (*tell)(void *data, const json_t *event); /* whoever watches the VM */
    void *data;                                    /* borrowed; for tell */
    VmState state;
    Plan plan;
    const char *boot;                 /* static: cold, restored or claimed */
    int vm_dir_fd;                    /* owned */
    int memory_fd;                    /* owned: the base that QEMU maps */
    char memory_owner[VM_OWNER_SIZE]; /* the snapshot whose memory that is, since it was adopted;
                                         empty: as started */
    int peer_fds[PLAN_CARDS_MAX];     /* owned: copies of the other ends of its cards' sockets; -1:
                                         none */
    QemuChild child;
    Machine machine;
    AgentChannel channel;
    Pulse pulse;
    Handshake handshake;
    Start start;
    LoopSource *stop_timer;
    LoopSource *button_timer; /* of a stop: the agent has not answered yet; power.c */
    LoopSource *room_timer;   /* NULL: it does not wait for room on the host; room.c */
    const char *abandoned;    /* static: why it is being killed; NULL: it is not */
    Snapshot *snapshot;       /* owned; NULL: none is being taken */
    Adoption *adoption;       /* owned; NULL: none was offered */
    uint64_t snapshots;       /* so many were taken */
    bool left_frozen;         /* a snapshot left it paused, with its disks frozen */
    AgentResult freeze;       /* and this is what the agent said then */
} Vm;

/* As proto/keeper.h has it. */
const char *keeper_state_name(const Vm *vm);

/* Running or paused: 0, or an error that says what it is instead. */
int vm_require_up(const Vm *vm, Error *error);

/* Where in the memory a page lies that the guest has at that address. */
uint64_t vm_memory_offset(const Vm *vm, uint64_t physical);

/* Tells watchers; steals the event. */
void vm_tell(Vm *vm, json_t *event);

/* It is paused until the host has room; room.h. */
bool vm_lacks_room(const Vm *vm);

/* {"event":"state",…}, as watchers hear it; the caller's. */
json_t *vm_describe_state(const Vm *vm);

/* How the VM's program ended, as its agent says: {"exit_status","ended_at"}; null: it has not, or
 * there is none. The caller's. */
json_t *vm_describe_program(const Vm *vm);

/* A new state that watchers hear of. */
void vm_change_state(Vm *vm, VmState state);

/* After a pause, in which the guest's clocks stood still: its agent sets the wall clock, before it
 * begins what it is asked for later. */
void vm_tell_time(Vm *vm);

/* What it maps since it adopted a snapshot's memory: "owner", "base_device", "base_inode". */
json_t *vm_describe_memory(const Vm *vm);

/* What who starts, claims or snapshots it must know to restore it later: marker, nonce, counter. */
json_t *vm_describe_agent(const Vm *vm);

#endif
