/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_HANDLERS_H
#define RAMET_DAEMON_HANDLERS_H

/* One function for each row of the table of operations. See RequestHandler. */

#include "daemon/request.h"
#include "verbs/verbs.h"

#define HANDLER(name) int name(Request *request, json_t **answer, Error *error)

/* wait_for.c: after VMs were started; answer: a VM, or an object with "vms", which goes when that
 * fails. They run on. */
int wait_for_ready(Request *request, json_t **answer, Error *error);

/* There is the request's VM and it runs; one that is starting is waited for. */
int check_running(Request *request, Error *error);

/* system.c */
HANDLER(handle_daemon_stop);
HANDLER(handle_doctor);
HANDLER(handle_openapi);
HANDLER(handle_version);

/* events.c */
HANDLER(handle_events);

/* images.c */
HANDLER(handle_image_build);
HANDLER(handle_image_export);
HANDLER(handle_image_import);
HANDLER(handle_image_inspect);
HANDLER(handle_image_list);
HANDLER(handle_image_pull);
HANDLER(handle_image_recipe);
HANDLER(handle_image_remove);
HANDLER(handle_image_tag);

/* labs.c */
HANDLER(handle_lab_down);
HANDLER(handle_lab_inspect);
HANDLER(handle_lab_fork);
HANDLER(handle_lab_list);
HANDLER(handle_lab_snapshot);
HANDLER(handle_lab_snapshot_inspect);
HANDLER(handle_lab_snapshot_list);
HANDLER(handle_lab_snapshot_remove);
HANDLER(handle_lab_up);

/* networks.c */
HANDLER(handle_network_create);
HANDLER(handle_network_capture);
HANDLER(handle_network_impair);
HANDLER(handle_network_inspect);
HANDLER(handle_network_list);
HANDLER(handle_network_remove);
HANDLER(handle_vm_limit);

/* snapshots.c */
HANDLER(handle_df);
HANDLER(handle_fork);
HANDLER(handle_pool_list);
HANDLER(handle_pool_set);
HANDLER(handle_prune);
HANDLER(handle_snapshot_export);
HANDLER(handle_snapshot_import);
HANDLER(handle_snapshot_pull);
HANDLER(handle_snapshot_inspect);
HANDLER(handle_snapshot_list);
HANDLER(handle_snapshot_remove);
HANDLER(handle_snapshot_tree);
HANDLER(handle_snapshot_verify);
HANDLER(handle_vm_commit);
HANDLER(handle_vm_resume);
HANDLER(handle_vm_snapshot);
HANDLER(handle_vm_standby);

/* seeds.c */
HANDLER(handle_seed_create);
HANDLER(handle_seed_inspect);
HANDLER(handle_seed_list);
HANDLER(handle_seed_remove);

/* vms.c */
HANDLER(handle_stats);
HANDLER(handle_vm_agent);
HANDLER(handle_vm_create);
HANDLER(handle_vm_inspect);
HANDLER(handle_vm_kill);
HANDLER(handle_vm_list);
HANDLER(handle_vm_pause);
HANDLER(handle_vm_remove);
HANDLER(handle_vm_port_add);
HANDLER(handle_vm_port_remove);
HANDLER(handle_vm_rename);
HANDLER(handle_vm_restart);
HANDLER(handle_vm_stages);
HANDLER(handle_vm_start);
HANDLER(handle_vm_stop);
HANDLER(handle_vm_unpause);
HANDLER(handle_vm_update);
HANDLER(handle_vm_wait);

/* volumes.c */
HANDLER(handle_volume_create);
HANDLER(handle_volume_export);
HANDLER(handle_volume_inspect);
HANDLER(handle_volume_list);
HANDLER(handle_volume_remove);

/* logs.c */
HANDLER(handle_vm_logs);

/* sessions.c */
HANDLER(handle_run);
HANDLER(handle_vm_copy_in);
HANDLER(handle_vm_copy_out);
HANDLER(handle_vm_exec);
HANDLER(handle_vm_proxy);

/* plain_http.c */
HANDLER(handle_vm_exec_kill);
HANDLER(handle_vm_exec_list);
HANDLER(handle_vm_exec_wait);
HANDLER(handle_vm_file_read);
HANDLER(handle_vm_file_stat);
HANDLER(handle_vm_file_write);

/* Fork for a client that asked for an upgrade: the clones are its own, and go with the stream. */
int fork_owned(Request *request, const ForkOptions *options, Error *error);

/* Exec for a client that did not ask for an upgrade. */
HANDLER(plain_exec);

#endif
