/* SPDX-License-Identifier: Apache-2.0 */

#include "machine/impair.h"

#include <errno.h>

#include "base/str.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/row.h"
#include "network/attach.h"
#include "store/networks.h"
#include "store/vms.h"

static int impair_vm(Home *home, Operation *operation, const char *reference,
                     const Impairment *impairment, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r = row_lock(home, reference, "being impaired", operation->cancel_fd, &lock, &row, error);
    if (r >= 0)
        r = network_require_ports(&row, error);
    if (r >= 0)
        r = network_check_impairment(home, &row, impairment, error);
    if (r < 0)
        return r;
    row.runtime.impair = *impairment;
    r = vms_update(home->store, &row, error);
    if (r >= 0)
        network_impair_vm(home, &row);
    return r;
}

int impair(Home *home, Operation *operation, const char *target, const Impairment *impairment,
           json_t **answer, Error *error) {
    _cleanup_network_row_ NetworkRow network = {0};
    int r = networks_get(home->store, target, &network, NULL);
    if (r >= 0)
        r = network_impair(home, target, impairment, error);
    else
        r = impair_vm(home, operation, target, impairment, error);
    if (r >= 0)
        *answer =
            json_pack("{s:s, s:o}", "target", target, "impair", impairment_to_json(impairment));
    return r;
}
