/* SPDX-License-Identifier: Apache-2.0 */

#include "run/limit_running.h"

#include "base/clock.h"
#include "home/inside.h"
#include "limits/enforce.h"
#include "run/keeper_call.h"

#define CALL_USEC (60 * USEC_PER_SEC)

static int limit_processes(Home *home, VmRow *row, Error *error) {
    VmRuntime *run = &row->runtime;
    int r = 0;
    if (!run->has_cgroup && !vm_limits_need_cgroup(&row->spec.limits))
        return 0;
    if (!run->has_cgroup) { /* known before it is there, so that it goes in any case */
        run->has_cgroup = true;
        r = vms_update(home->store, row, error);
    }
    return r < 0 ? r : limits_enforce(home, row, run->keeper.pid, run->qemu.pid, error);
}

static int limit_disks(Home *home, const VmRow *row, Error *error) {
    const VmLimits *limits = &row->spec.limits;
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:I, s:I}", "op", "throttle", "bytes", (json_int_t)limits->io_bytes, "ops",
                  (json_int_t)limits->io_ops);
    return vm_call_keeper(home, row, request, CALL_USEC, -1, error);
}

int vm_limit_running(Home *home, VmRow *row, Error *error) {
    int r = limit_processes(home, row, error);
    return r < 0 ? r : limit_disks(home, row, error);
}
