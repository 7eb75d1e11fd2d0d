/* SPDX-License-Identifier: Apache-2.0 */

#include "store/vm_policy.h"

#include <errno.h>

#include "base/str.h"

static const RowField deadline_fields[] = {
    ROW_FIELD(ROW_U64, Deadline, wall_usec),
    ROW_FIELD(ROW_U64, Deadline, boot_usec),
    ROW_TEXT_FIELD(Deadline, boot_id),
};

const RowField vm_policy_fields[] = {
    ROW_FIELD(ROW_U64, VmPolicy, ttl_usec),      ROW_FIELD(ROW_INT, VmPolicy, restart),
    ROW_FIELD(ROW_U64, VmPolicy, restart_max),   ROW_FIELD(ROW_U64, VmPolicy, idle_usec),
    ROW_FIELD(ROW_U64, VmPolicy, snapshot_usec), ROW_FIELD(ROW_U64, VmPolicy, snapshots_kept),
};

const RowField vm_timers_fields[] = {
    ROW_STRUCT_FIELD(VmTimers, expires, deadline_fields),
    ROW_STRUCT_FIELD(VmTimers, restart, deadline_fields),
    ROW_FIELD(ROW_U64, VmTimers, restarts),
    ROW_FIELD(ROW_U64, VmTimers, restart_usec),
    ROW_STRUCT_FIELD(VmTimers, snapshot, deadline_fields),
    ROW_FIELD(ROW_BOOL, VmTimers, dozing),
};

int restart_parse(const char *text, RestartKind *kind, uint64_t *max) {
    static const char limited[] = "on-failure:";
    uint64_t most = 0;
    RestartKind found = RESTART_NO;
    if (str_equal(text, "always"))
        found = RESTART_ALWAYS;
    else if (str_equal(text, "on-failure"))
        found = RESTART_ON_FAILURE;
    else if (str_has_prefix(text, limited) &&
             parse_u64(text + sizeof(limited) - 1, INT32_MAX, &most) == 0 && most > 0)
        found = RESTART_ON_FAILURE;
    else if (!str_equal(text, "no"))
        return -EINVAL;
    *kind = found;
    *max = most;
    return 0;
}

char *restart_format(RestartKind kind, uint64_t max) {
    if (kind == RESTART_ON_FAILURE && max > 0)
        return str_format("on-failure:%llu", (unsigned long long)max);
    return str_copy(kind == RESTART_ALWAYS ? "always" : kind == RESTART_NO ? "no" : "on-failure");
}

bool vm_policy_is_none(const VmPolicy *policy) {
    return !policy->ttl_usec && policy->restart == RESTART_NO && !policy->idle_usec &&
           !policy->snapshot_usec;
}
