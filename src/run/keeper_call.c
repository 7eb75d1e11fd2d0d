/* SPDX-License-Identifier: Apache-2.0 */

#include "run/keeper_call.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "home/home.h"
#include "home/row.h"
#include "proto/keeper.h"
#include "store/vms.h"

int vm_call_keeper(Home *home, const VmRow *row, const json_t *request, uint64_t timeout_usec,
                   int cancel_fd, Error *error) {
    _cleanup_json_ json_t *ok = NULL;
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(home, row->id, &dir_fd, error);
    if (r < 0)
        return r;
    return keeper_call(dir_fd, request, NULL, 0, clock_monotonic_usec() + timeout_usec, cancel_fd,
                       NULL, NULL, &ok, error);
}
