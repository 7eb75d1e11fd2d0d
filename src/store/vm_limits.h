/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_VM_LIMITS_H
#define RAMET_STORE_VM_LIMITS_H

/* What a VM may use of the host, as it was asked for: docs/limits.md. 0: no limit. */

#include <stdbool.h>
#include <stdint.h>

#include "store/row_fields.h"

typedef struct VmLimits {
    uint64_t cpu_thousandths; /* of a CPU */
    uint64_t memory_bytes;    /* of all of its processes */
    uint64_t pids;            /* threads of its processes */
    uint64_t io_bytes;        /* a second, of each disk, read and written together */
    uint64_t io_ops;          /* the same, operations */
} VmLimits;

extern const RowField vm_limits_fields[5];

/* Is one of them kept by the kernel, that is, by a cgroup of the VM's own? */
bool vm_limits_need_cgroup(const VmLimits *limits);

/* Are they the same? */
bool vm_limits_equal(const VmLimits *a, const VmLimits *b);

/* Are there none at all? */
bool vm_limits_are_none(const VmLimits *limits);

#endif
