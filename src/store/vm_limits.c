/* SPDX-License-Identifier: Apache-2.0 */

#include "store/vm_limits.h"

#define FIELD(name) ROW_FIELD(ROW_U64, VmLimits, name)

const RowField vm_limits_fields[] = {
    FIELD(cpu_thousandths), FIELD(memory_bytes), FIELD(pids), FIELD(io_bytes), FIELD(io_ops),
};

bool vm_limits_need_cgroup(const VmLimits *limits) {
    return limits->cpu_thousandths || limits->memory_bytes || limits->pids;
}

bool vm_limits_equal(const VmLimits *a, const VmLimits *b) {
    return a->cpu_thousandths == b->cpu_thousandths && a->memory_bytes == b->memory_bytes &&
           a->pids == b->pids && a->io_bytes == b->io_bytes && a->io_ops == b->io_ops;
}

bool vm_limits_are_none(const VmLimits *limits) {
    return !vm_limits_need_cgroup(limits) && !limits->io_bytes && !limits->io_ops;
}
