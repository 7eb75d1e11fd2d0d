/* SPDX-License-Identifier: Apache-2.0 */

/* Another name for a VM. The name is the store's and the client's; processes, files and sessions
 * know the id. So a VM may have any state, and goes on undisturbed.
 *
 * Its host name was made of the name, unless it was given one. A guest that runs or waits in
 * standby has it in its memory, and programs that took note of it: it keeps it, and the next start
 * by the daemon brings the new one (vm_start_locked). Snapshots show the new name of the VM they
 * are of; events of the past keep the old one. */

#include "machine/rename.h"

#include <errno.h>

#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "home/home.h"
#include "home/identity.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/row.h"
#include "machine/look/describe.h"
#include "machine/machine.h"
#include "network/attach.h"
#include "store/lab/labs.h"
#include "store/snapshots.h"
#include "store/store.h"
#include "store/vms.h"

void vm_update_hostname(VmRow *row) {
    const char *own = row->spec.hostname;
    _cleanup_free_ char *made = identity_hostname(name_within_lab(row->name), row->id);
    str_set(row->runtime.hostname, *own ? own : made);
}

static int write_name(Home *home, VmRow *row, const char *name, Error *error) {
    int r = vms_rename(home->store, row->id, name, error);
    if (r < 0)
        return r;
    (void)snprintf(row->name, sizeof(row->name), "%s", name);
    str_set(row->spec.name, name);
    if (!vm_state_is_active(row->state) && row->state != STATE_STANDBY)
        vm_update_hostname(row);
    r = vms_update(home->store, row, error);
    return r < 0 ? r : snapshots_rename_vm(home->store, row->id, name, error);
}

/* All of it or nothing. */
static int write_all(Home *home, VmRow *row, const char *name, Error *error) {
    int r = store_begin(home->store, error);
    if (r < 0)
        return r;
    r = write_name(home, row, name, error);
    if (r < 0) {
        store_rollback(home->store);
        return r;
    }
    return store_commit(home->store, error);
}

static int rename_locked(Home *home, VmRow *row, const char *name, Error *error) {
    _cleanup_json_ json_t *detail = json_pack("{s:s, s:s}", "from", row->name, "to", name);
    int r;
    if (str_equal(row->name, name))
        return 0;
    r = labs_check_alone(home->store, row->lab, "VM", row->name, error);
    if (r < 0)
        return r;
    r = write_all(home, row, name, error);
    if (r >= 0)
        home_event(home, "vm.renamed", row->id, name, detail);
    if (r >= 0 && vm_state_is_active(row->state))
        network_update_vm(home, row);
    return r;
}

int vm_rename(Home *home, Operation *operation, const char *reference, const char *name,
              json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r = name_check("VM", name, error);
    if (r >= 0)
        r = row_lock(home, reference, "being renamed", operation->cancel_fd, &lock, &row, error);
    if (r >= 0 && row_is_hidden(&row))
        r = error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no VM %s", reference);
    if (r >= 0)
        r = rename_locked(home, &row, name, error);
    if (r < 0)
        return error_add_context(error, "cannot rename %s", reference);
    return vm_answer(home, &row, vm, error);
}
