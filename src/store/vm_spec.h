/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_VM_SPEC_H
#define RAMET_STORE_VM_SPEC_H

/* What a VM is asked to be: docs/protocols.md, "A specification". */

#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "proto/net_limit.h"
#include "proto/plan.h"
#include "store/disks/vm_disk.h"
#include "store/image/image_config.h"
#include "store/vm_limits.h"
#include "store/vm_policy.h"

/* A network card as it was asked for. */
typedef struct VmCard {
    char network[NAME_SIZE]; /* "user", "none", or the name of a network */
    char ip[16];             /* of a network with a name; empty: any that is free */
    char mac[18];            /* the same */
    bool allow_host;         /* of user: it reaches the host's own addresses */
} VmCard;

/* In their order in the guest: eth0, eth1, … */
typedef struct VmCards {
    size_t count;
    VmCard items[PLAN_CARDS_MAX];
} VmCards;

typedef struct VmSpec {
    char name[NAME_SIZE]; /* empty: one is made up */
    char lab[33]; /* id of the lab that it is made for; empty: none. A row has it elsewhere */
    char image[64];
    uint64_t memory_bytes; /* 0: as the image suggests */
    unsigned cpus;         /* 0 until it is made: as the image suggests */
    uint64_t disk_bytes;   /* 0: as the image is */
    VmMounts mounts;       /* its other disks */
    char *config_disk;     /* owned: what one more is to be made of; NULL: nothing. In no row */
    VmCards cards;         /* at least one */
    NetLimit net_limit;    /* of each card */
    PortForwards forwards;
    StrList env;             /* owned: "K=V", for every command in it */
    StrList ssh_keys;        /* owned: lines of those who may log in, beside the home's owner */
    char hostname[64];       /* empty: made of the name */
    json_t *labels;          /* owned: {"K":"V"}; NULL: none */
    char wait_for[1024];     /* a shell's line that has to succeed after each start; "": none */
    uint64_t wait_timeout_s; /* 0: as long as usual */
    VmPolicy policy;         /* what happens to it by itself */
    VmLimits limits;         /* what it may use of the host */
    bool router;             /* it passes on what others of its networks send */
    bool remove;             /* --rm */
    bool cold;               /* never from the boot cache */
    bool microvm;       /* without firmware, also where the image has a boot loader. In no row */
    ImageConfig config; /* owned: how its image is run, as it was changed for it */
    bool has_program;   /* entrypoint and command of it run in each start */
    bool warm;          /* what it is forked from in its first start runs the program already */
    bool agent_is_init; /* even where the image has an init */
    bool own_entrypoint,
        own_command;   /* of `config`: they were asked for, and are not the image's */
    bool weak_command; /* only where the image has a program */
    bool publish_all;  /* the ports of `config`, too */
    bool runs_line;    /* a lab's `run`, in the place of the image's program */
    json_t *unknown;   /* owned: members of a later version; NULL: none */
} VmSpec;

/* The defaults: 1 cpu, user networking. */
void vm_spec_init(VmSpec *spec);

/* Leaves nothing that is owned. */
void vm_spec_free(VmSpec *spec);
#define _cleanup_vm_spec_ _cleanup_(vm_spec_free)

/* As it lies in a row; an object, the caller's. */
json_t *vm_spec_to_json(const VmSpec *spec);

/* From a row, which nobody checks again, into a struct of zeroes. json may be NULL. */
void vm_spec_from_json(const json_t *json, VmSpec *spec);

/* Into a struct that held nothing before. */
void vm_spec_copy(const VmSpec *spec, VmSpec *copy);

/* Lists, the caller's, as a specification has them; env with that of its image. */
json_t *vm_spec_env_to_json(const VmSpec *spec);
json_t *vm_spec_forwards_to_json(const VmSpec *spec);

/* Of the first card. */
const char *vm_spec_network(const VmSpec *spec);

/* The card that forwards lead to: the first with a network; NULL: none has one. */
const VmCard *vm_spec_forward_card(const VmSpec *spec);

/* A network that was made, and none of "user" and "none". */
bool vm_network_is_named(const char *network);

/* One card alone, in that network. */
void vm_cards_set(VmCards *cards, const char *network);

#endif
