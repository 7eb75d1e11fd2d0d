/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about snapshots, and about VMs that grow from them or go to standby. */

#include "daemon/handlers.h"
#include "lineage/snapshot_describe.h"
#include "machine/clone.h"
#include "machine/machine.h"
#include "pool/pool.h"
#include "usage/df.h"
#include "usage/prune.h"
#include "verbs/verbs.h"

static CloneShape shape_of(const Request *request) {
    return (CloneShape){.disk_bytes = request_number(request, "disk_bytes", 0),
                        .memory_bytes = request_number(request, "memory_bytes", 0),
                        .cpus = (unsigned)request_number(request, "cpus", 0),
                        .network = request_text(request, "network"),
                        .networks = request_list(request, "networks"),
                        .hostname = request_text(request, "hostname"),
                        .forwards = request_list(request, "forwards"),
                        .labels = json_object_get(request->input, "labels"),
                        .policy = request->input,
                        .limits = request->input};
}

HANDLER(handle_df) {
    return home_df(request->home, request_flag(request, "items"), answer, error);
}

HANDLER(handle_fork) {
    const ForkOptions options = {.source = request_text(request, "source"),
                                 .name = request_text(request, "name"),
                                 .count = (unsigned)request_number(request, "count", 1),
                                 .keep_going = request_flag(request, "keep_going"),
                                 .remove = request_flag(request, "remove"),
                                 .clone_volumes = request_flag(request, "clone_volumes"),
                                 .config_disk = request_text(request, "config_disk"),
                                 .owned = request->wants_upgrade,
                                 .shape = shape_of(request)};
    int r = options.owned ? fork_owned(request, &options, error)
                          : vm_fork(request->home, &request->operation, &options, answer, error);
    return r < 0 || options.owned || !request_text(request, "wait_for")
               ? r
               : wait_for_ready(request, answer, error);
}

HANDLER(handle_pool_list) {
    return pool_list(request->home, answer, error);
}

HANDLER(handle_pool_set) {
    return pool_set(request->home, &request->operation, request_text(request, "source"),
                    (unsigned)request_number(request, "count", 0), request_flag(request, "wait"),
                    answer, error);
}

HANDLER(handle_prune) {
    const json_t *before = json_object_get(request->input, "before");
    PruneOptions options = {
        .plan = {.all = request_flag(request, "all"),
                 .by_age = before != NULL,
                 .by_budget = json_object_get(request->input, "keep_bytes") != NULL,
                 .keep_bytes = request_number(request, "keep_bytes", 0)},
        .dry_run = request_flag(request, "dry_run")};
    int r = before ? api_time(before, &options.plan.before_usec) : 0;
    if (r < 0)
        return error_set(error, ERROR_USAGE, -r, "before is no time");
    return home_prune(request->home, &request->operation, &options, answer, error);
}

HANDLER(handle_snapshot_inspect) {
    return snapshot_inspect(request->home, &request->operation, request->argument, answer, error);
}

HANDLER(handle_snapshot_list) {
    return snapshot_list(request->home, request_flag(request, "all"), answer, error);
}

HANDLER(handle_snapshot_remove) {
    return snapshot_remove(request->home, &request->operation, request->argument,
                           request_flag(request, "cascade"), answer, error);
}

HANDLER(handle_snapshot_tree) {
    return snapshot_tree(request->home, answer, error);
}

HANDLER(handle_snapshot_verify) {
    return snapshot_verify(request->home, &request->operation, request->argument, answer, error);
}

HANDLER(handle_vm_commit) {
    return vm_commit(request->home, &request->operation, request->argument,
                     request_text(request, "name"), request_flag(request, "replace"), answer,
                     error);
}

HANDLER(handle_vm_resume) {
    return vm_resume(request->home, &request->operation, request->argument, answer, error);
}

HANDLER(handle_vm_snapshot) {
    return snapshot_create(request->home, &request->operation, request->argument,
                           request_text(request, "name"), request_text(request, "compress"),
                           request_flag(request, "clone_volumes"), answer, error);
}

HANDLER(handle_vm_standby) {
    return vm_standby(request->home, &request->operation, request->argument, answer, error);
}
