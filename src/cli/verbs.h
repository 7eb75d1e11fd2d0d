/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_VERBS_H
#define RAMET_CLI_VERBS_H

/* The rows, one in each verb_NAME.c. */

#include "cli/verb.h"

extern const Verb verb_bench;
extern const Verb verb_cp;
extern const Verb verb_create;
extern const Verb verb_daemon_run;
extern const Verb verb_daemon_status;
extern const Verb verb_daemon_stop;
extern const Verb verb_doctor;
extern const Verb verb_events;
extern const Verb verb_exec;
extern const Verb verb_fork;
extern const Verb verb_image_build;
extern const Verb verb_image_import;
extern const Verb verb_image_inspect;
extern const Verb verb_image_ls;
extern const Verb verb_image_rm;
extern const Verb verb_inspect;
extern const Verb verb_kill;
extern const Verb verb_logs;
extern const Verb verb_pause;
extern const Verb verb_pool_ls;
extern const Verb verb_pool_set;
extern const Verb verb_prune;
extern const Verb verb_ps;
extern const Verb verb_restart;
extern const Verb verb_resume;
extern const Verb verb_rm;
extern const Verb verb_run;
extern const Verb verb_shell;
extern const Verb verb_snapshot_create;
extern const Verb verb_snapshot_inspect;
extern const Verb verb_snapshot_ls;
extern const Verb verb_snapshot_prune;
extern const Verb verb_snapshot_prove;
extern const Verb verb_snapshot_rm;
extern const Verb verb_snapshot_tree;
extern const Verb verb_snapshot_verify;
extern const Verb verb_stages;
extern const Verb verb_standby;
extern const Verb verb_start;
extern const Verb verb_stop;
extern const Verb verb_unpause;
extern const Verb verb_version;
extern const Verb verb_wait;

#endif
