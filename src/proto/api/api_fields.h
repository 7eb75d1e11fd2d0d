/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_API_API_FIELDS_H
#define RAMET_PROTO_API_API_FIELDS_H

/* The fields of the table's rows, each ended by a NULL name. */

#include "proto/api/api_field.h"

extern const ApiField api_capture_fields[];
extern const ApiField api_df_fields[];
extern const ApiField api_events_fields[];
extern const ApiField api_fork_fields[];
extern const ApiField api_image_build_fields[];
extern const ApiField api_image_import_fields[];
extern const ApiField api_image_pull_fields[];
extern const ApiField api_image_recipe_fields[];
extern const ApiField api_image_tag_fields[];
extern const ApiField api_impair_fields[];
extern const ApiField api_lab_fork_fields[];
extern const ApiField api_lab_snapshot_fields[];
extern const ApiField api_lab_up_fields[];
extern const ApiField api_network_create_fields[];
extern const ApiField api_pool_set_fields[];
extern const ApiField api_prune_fields[];
extern const ApiField api_run_fields[];
extern const ApiField api_snapshot_export_fields[];
extern const ApiField api_snapshot_import_fields[];
extern const ApiField api_snapshot_pull_fields[];
extern const ApiField api_snapshot_list_fields[];
extern const ApiField api_snapshot_remove_fields[];
extern const ApiField api_stats_fields[];
extern const ApiField api_vm_copy_fields[];
extern const ApiField api_vm_create_fields[];
extern const ApiField api_vm_exec_fields[];
extern const ApiField api_vm_exec_kill_fields[];
extern const ApiField api_vm_exec_wait_fields[];
extern const ApiField api_vm_file_fields[];
extern const ApiField api_vm_file_write_fields[];
extern const ApiField api_vm_limit_fields[];
extern const ApiField api_vm_list_fields[];
extern const ApiField api_vm_logs_fields[];
extern const ApiField api_vm_port_remove_fields[];
extern const ApiField api_vm_proxy_fields[];
extern const ApiField api_vm_remove_fields[];
extern const ApiField api_vm_rename_fields[];
extern const ApiField api_vm_commit_fields[];
extern const ApiField api_seed_create_fields[];
extern const ApiField api_vm_snapshot_fields[];
extern const ApiField api_vm_start_fields[];
extern const ApiField api_vm_stop_fields[];
extern const ApiField api_vm_update_fields[];
extern const ApiField api_vm_wait_fields[];
extern const ApiField api_volume_create_fields[];
extern const ApiField api_volume_export_fields[];

/* Members of one of the "forwards", of a lab's "networks" and of its "vms". */
extern const ApiField api_forward_fields[], api_lab_network_fields[], api_lab_vm_fields[];

#endif
