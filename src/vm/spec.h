/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VM_SPEC_H
#define RAMET_VM_SPEC_H

/* What a VM is asked to be: docs/protocols.md, "A specification". */

#include "base/json.h"
#include "base/str.h"

#define SPEC_FORWARDS_MAX 64
#define SPEC_ENV_MAX 256
#define SPEC_MEMORY_MIN_BYTES (32 * MIB)

typedef struct SpecForward {
    char host_ip[16];
    uint16_t host_port;
    uint16_t guest_port;
    bool udp;
} SpecForward;

typedef struct VmSpec {
    char name[64]; /* empty: one is made up */
    char image[64];
    uint64_t memory_bytes; /* 0: as the image suggests */
    unsigned cpus;
    uint64_t disk_bytes; /* 0: as the image is */
    char network[64];    /* "user" or "none" */
    size_t n_forwards;
    SpecForward forwards[SPEC_FORWARDS_MAX];
    StrList env; /* "K=V", for every command in it */
    bool remove; /* --rm */
    bool cold;   /* never from the boot cache */
} VmSpec;

/* The defaults: 1 cpu, user networking. */
void vm_spec_init(VmSpec *spec);
void vm_spec_free(VmSpec *spec);
#define _cleanup_vm_spec_ _cleanup_(vm_spec_free)

/* Checks everything that can be checked without looking at images or other VMs. Members that it
 * does not know are ERROR_USAGE, except "start" and "exec", which are the caller's. The
 * specification must be initialised. */
int vm_spec_from_json(const json_t *json, VmSpec *spec, Error *error);
json_t *vm_spec_to_json(const VmSpec *spec);
json_t *vm_spec_forwards_to_json(const VmSpec *spec);

/* Is it a string "KEY=VALUE" of a bearable length? */
int vm_env_check(const json_t *value, Error *error);

#endif
