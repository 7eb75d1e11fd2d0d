/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/handlers.h"

static const RequestHandler handlers[] = {
    [API_DAEMON_STOP] = handle_daemon_stop,
    [API_DOCTOR] = handle_doctor,
    [API_EVENTS] = handle_events,
    [API_IMAGE_LIST] = handle_image_list,
    [API_IMAGE_BUILD] = handle_image_build,
    [API_IMAGE_IMPORT] = handle_image_import,
    [API_IMAGE_REMOVE] = handle_image_remove,
    [API_IMAGE_INSPECT] = handle_image_inspect,
    [API_OPENAPI] = handle_openapi,
    [API_RUN] = handle_run,
    [API_VERSION] = handle_version,
    [API_VM_LIST] = handle_vm_list,
    [API_VM_CREATE] = handle_vm_create,
    [API_VM_REMOVE] = handle_vm_remove,
    [API_VM_INSPECT] = handle_vm_inspect,
    [API_VM_COPY_IN] = handle_vm_copy_in,
    [API_VM_COPY_OUT] = handle_vm_copy_out,
    [API_VM_EXEC] = handle_vm_exec,
    [API_VM_KILL] = handle_vm_kill,
    [API_VM_LOGS] = handle_vm_logs,
    [API_VM_PAUSE] = handle_vm_pause,
    [API_VM_RESTART] = handle_vm_restart,
    [API_VM_STAGES] = handle_vm_stages,
    [API_VM_START] = handle_vm_start,
    [API_VM_STOP] = handle_vm_stop,
    [API_VM_UNPAUSE] = handle_vm_unpause,
    [API_FORK] = handle_fork,
    [API_POOL_LIST] = handle_pool_list,
    [API_POOL_SET] = handle_pool_set,
    [API_PRUNE] = handle_prune,
    [API_SNAPSHOT_INSPECT] = handle_snapshot_inspect,
    [API_SNAPSHOT_LIST] = handle_snapshot_list,
    [API_SNAPSHOT_REMOVE] = handle_snapshot_remove,
    [API_SNAPSHOT_TREE] = handle_snapshot_tree,
    [API_SNAPSHOT_PROVE] = handle_snapshot_prove,
    [API_SNAPSHOT_VERIFY] = handle_snapshot_verify,
    [API_VM_RESUME] = handle_vm_resume,
    [API_VM_SNAPSHOT] = handle_vm_snapshot,
    [API_VM_STANDBY] = handle_vm_standby,
    [API_VM_WAIT] = handle_vm_wait,
};
_Static_assert(ARRAY_SIZE(handlers) == API_ID_COUNT, "a handler for each row");

RequestHandler request_handler(ApiId id) {
    return handlers[id];
}
