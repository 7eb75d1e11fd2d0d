/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_SPEC_H
#define RAMET_HOME_SPEC_H

/* Checks of what a client asks a VM to be. What is stored was checked: store/vm_spec.h. */

#include "base/error.h"
#include "base/json.h"
#include "store/vm_spec.h"

#define SPEC_ENV_MAX 65536
#define SPEC_MEMORY_MIN_BYTES (80 * MIB) /* what the kernel boots with: docs/cold-boot.md */

/* Is it a host name (RFC 1123: labels of letters, digits and inner hyphens) of up to 63 bytes? */
int vm_hostname_check(const char *hostname, Error *error);

/* Reads what a client sends, and checks everything that can be checked without looking at images or
 * other VMs. Members that it does not know are ERROR_USAGE, except "start" and "exec", which are
 * the caller's. The specification must be initialised. */
int vm_spec_parse(const json_t *json, VmSpec *spec, Error *error);

/* The same for its members "forwards" and "labels" alone. NULL: as they are; labels are added. The
 * key of one has 1 to 63 of [A-Za-z0-9._/-], its value up to 255 bytes without control characters.
 */
int vm_spec_parse_forwards(const json_t *list, VmSpec *spec, Error *error);
int vm_spec_add_labels(VmSpec *spec, const json_t *labels, Error *error);

/* The bounds of sizes and CPUs, and the network; rounds sizes. For one that was put together. */
int vm_spec_check(VmSpec *spec, Error *error);

/* For a new VM; 0 (as the image suggests) is fine. ERROR_USAGE when no guest boots with it. */
int vm_spec_check_memory(uint64_t bytes, Error *error);

#define VM_CPUS_MAX 64

/* As that. ERROR_USAGE when they are too many for this host. */
int vm_spec_check_cpus(uint64_t cpus, Error *error);

/* Is it a string "KEY=VALUE" of a bearable length? */
int vm_env_check(const json_t *value, Error *error);

#endif
