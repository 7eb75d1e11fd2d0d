/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_VERB_ROWS_H
#define RAMET_CLI_VERB_ROWS_H

#include "cli/verb.h"

/* Every verb, sorted by its name; a test holds it so. */
/* clang-format off */
#define VERBS(X) \
    X(bench) X(commit) X(cp) X(create) X(daemon_run) X(daemon_status) X(daemon_stop) X(df) \
    X(doctor) X(events) X(exec) X(fork) X(image_build) X(image_export) X(image_import) \
    X(image_inspect) X(image_ls) X(image_pull) X(image_push) X(image_rm) X(image_tag) X(inspect) X(kill) \
    X(lab_down) X(lab_exec) X(lab_fork) X(lab_inspect) X(lab_logs) X(lab_ls) X(lab_prove) \
    X(lab_snapshot) X(lab_snapshot_inspect) X(lab_snapshot_ls) X(lab_snapshot_rm) X(lab_up) \
    X(logs) X(network_capture) X(network_create) X(network_impair) X(network_inspect) \
    X(network_limit) X(network_ls) X(network_rm) X(pause) X(pool_ls) X(pool_set) X(port_add) \
    X(port_ls) X(port_rm) X(proxy) X(prune) X(ps) X(rename) X(restart) X(resume) X(rm) X(run) \
    X(seed_create) X(seed_inspect) X(seed_ls) X(seed_rm) \
    X(shell) X(snapshot_create) X(snapshot_export) X(snapshot_import) X(snapshot_inspect) \
    X(snapshot_ls) X(snapshot_prove) X(snapshot_prune) X(snapshot_pull) X(snapshot_push) \
    X(snapshot_rm) X(snapshot_schedule) X(snapshot_tree) X(snapshot_verify) X(ssh_config) \
    X(stages) X(standby) X(start) X(stats) X(stop) X(unpause) X(update) X(version) \
    X(volume_create) X(volume_export) X(volume_inspect) X(volume_ls) X(volume_rm) X(wait)
/* clang-format on */

/* The rows, one in each verb_NAME.c. */
#define VERB_DECLARE(name) extern const Verb verb_##name;
VERBS(VERB_DECLARE)
#undef VERB_DECLARE

#endif
