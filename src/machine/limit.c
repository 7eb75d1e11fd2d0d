/* SPDX-License-Identifier: Apache-2.0 */

#include "machine/limit.h"

#include <errno.h>

#include "home/inside.h"
#include "home/op_lock.h"
#include "home/row.h"
#include "machine/look/describe.h"
#include "network/attach.h"
#include "network/lease.h"
#include "network/limit.h"
#include "store/vms.h"

int vm_limit(Home *home, Operation *operation, const char *reference, const char *text, json_t **vm,
             Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    NetLimit limit;
    int r = net_limit_parse(text, &limit, error);
    if (r >= 0)
        r = row_lock(home, reference, "being limited", operation->cancel_fd, &lock, &row, error);
    if (r >= 0)
        r = network_require_ports(&row, error);
    if (r < 0)
        return r;
    row.spec.net_limit = limit;
    r = network_check_limit(home->store, &row, error);
    if (r >= 0)
        r = vms_update(home->store, &row, error);
    if (r >= 0)
        r = network_limit_vm(home, &row, error);
    return r < 0 ? r : vm_answer(home, &row, vm, error);
}
