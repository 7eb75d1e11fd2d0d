/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about snapshots, and about VMs that grow from them or go to standby. */

#include "vm/snapshot.h"

#include "daemon/handlers.h"
#include "vm/pool.h"

static bool member_bool(const Request *request, const char *name) {
    return json_is_true(json_object_get(request->input, name));
}

static const char *member_text(const Request *request, const char *name) {
    return json_string_value(json_object_get(request->input, name));
}

static uint64_t member_number(const Request *request, const char *name, uint64_t otherwise) {
    const json_t *value = json_object_get(request->input, name);

    return json_is_integer(value) ? (uint64_t)json_integer_value(value) : otherwise;
}

HANDLER(handle_fork) {
    const ForkOptions options = {.source = member_text(request, "source"),
                                 .name = member_text(request, "name"),
                                 .count = (unsigned)member_number(request, "count", 1),
                                 .keep_going = member_bool(request, "keep_going"),
                                 .disk_bytes = member_number(request, "disk_bytes", 0)};

    return vm_fork(request->ramet, &request->operation, &options, answer, error);
}

HANDLER(handle_pool_list) {
    return pool_list(request->ramet, answer, error);
}

HANDLER(handle_pool_set) {
    return pool_set(request->ramet, &request->operation, member_text(request, "source"),
                    (unsigned)member_number(request, "count", 0), member_bool(request, "wait"),
                    answer, error);
}

HANDLER(handle_prune) {
    return ramet_prune(request->ramet, &request->operation, answer, error);
}

HANDLER(handle_snapshot_inspect) {
    return snapshot_inspect(request->ramet, &request->operation, request->argument, answer, error);
}

HANDLER(handle_snapshot_list) {
    return snapshot_list(request->ramet, member_bool(request, "all"), answer, error);
}

HANDLER(handle_snapshot_remove) {
    return snapshot_remove(request->ramet, &request->operation, request->argument,
                           member_bool(request, "cascade"), answer, error);
}

HANDLER(handle_snapshot_tree) {
    return snapshot_tree(request->ramet, answer, error);
}

HANDLER(handle_snapshot_prove) {
    uint64_t clones = member_number(request, "clones", PROVE_CLONES_DEFAULT);

    return snapshot_prove(request->ramet, &request->operation, request->argument, (unsigned)clones,
                          answer, error);
}

HANDLER(handle_snapshot_verify) {
    return snapshot_verify(request->ramet, &request->operation, request->argument, answer, error);
}

HANDLER(handle_vm_resume) {
    return vm_resume(request->ramet, &request->operation, request->argument, answer, error);
}

HANDLER(handle_vm_snapshot) {
    return snapshot_create(request->ramet, &request->operation, request->argument,
                           member_text(request, "name"), member_text(request, "compress"), answer,
                           error);
}

HANDLER(handle_vm_standby) {
    return vm_standby(request->ramet, &request->operation, request->argument, answer, error);
}
