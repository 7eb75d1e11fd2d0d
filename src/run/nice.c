/* SPDX-License-Identifier: Apache-2.0 */

#include "run/nice.h"

#include <string.h>

#include "base/log.h"
#include "base/process/priority.h"
#include "base/process/process.h"
#include "base/str.h"
#include "store/vms.h"

void vm_set_nice(const VmRow *row, const ProcessIdentity *keeper, int nice) {
    int r = keeper->pid > 0 && priority_may_raise() ? priority_set_session(keeper->pid, nice) : 0;
    if (r < 0)
        log_debug("cannot set the priority of %s: %s", row->name, strerror(-r));
}

void vm_set_hasty(const VmRow *row, bool hasty) {
    const pid_t threads[] = {row->runtime.keeper.pid, row->runtime.qemu.pid};
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        int r = threads[i] > 0 && priority_may_raise() ? priority_set_hasty(threads[i], hasty) : 0;
        if (r < 0)
            log_debug("cannot put %s before its virtual CPUs: %s", row->name, strerror(-r));
    }
}
