/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_HANDLERS_H
#define RAMET_DAEMON_HANDLERS_H

/* One function for each row of the table of operations. See RequestHandler. */

#include "daemon/request.h"

#define HANDLER(name) int name(Request *request, json_t **answer, Error *error)

/* system.c */
HANDLER(handle_daemon_stop);
HANDLER(handle_doctor);
HANDLER(handle_openapi);
HANDLER(handle_version);

/* events.c */
HANDLER(handle_events);

/* images.c */
HANDLER(handle_image_build);
HANDLER(handle_image_import);
HANDLER(handle_image_inspect);
HANDLER(handle_image_list);
HANDLER(handle_image_remove);

/* snapshots.c */
HANDLER(handle_fork);
HANDLER(handle_pool_list);
HANDLER(handle_pool_set);
HANDLER(handle_prune);
HANDLER(handle_snapshot_inspect);
HANDLER(handle_snapshot_list);
HANDLER(handle_snapshot_remove);
HANDLER(handle_snapshot_tree);
HANDLER(handle_snapshot_prove);
HANDLER(handle_snapshot_verify);
HANDLER(handle_vm_resume);
HANDLER(handle_vm_snapshot);
HANDLER(handle_vm_standby);

/* vms.c */
HANDLER(handle_vm_create);
HANDLER(handle_vm_inspect);
HANDLER(handle_vm_kill);
HANDLER(handle_vm_list);
HANDLER(handle_vm_pause);
HANDLER(handle_vm_remove);
HANDLER(handle_vm_restart);
HANDLER(handle_vm_stages);
HANDLER(handle_vm_start);
HANDLER(handle_vm_stop);
HANDLER(handle_vm_unpause);
HANDLER(handle_vm_wait);

/* logs.c */
HANDLER(handle_vm_logs);

/* sessions.c */
HANDLER(handle_run);
HANDLER(handle_vm_copy_in);
HANDLER(handle_vm_copy_out);
HANDLER(handle_vm_exec);

#endif
