/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about labs. */

#include "daemon/handlers.h"
#include "lab/lab.h"
#include "lab/lab_fork.h"
#include "lab/lab_snapshot.h"

HANDLER(handle_lab_list) {
    return lab_list(request->home, answer, error);
}

HANDLER(handle_lab_inspect) {
    return lab_inspect(request->home, request->argument, answer, error);
}

HANDLER(handle_lab_up) {
    return lab_up(request->home, &request->operation, request_text(request, "name"), request->input,
                  answer, error);
}

HANDLER(handle_lab_down) {
    return lab_down(request->home, &request->operation, request->argument, answer, error);
}

HANDLER(handle_lab_snapshot) {
    return lab_snapshot_create(request->home, &request->operation, request->argument,
                               request_text(request, "name"),
                               request_flag(request, "clone_volumes"), answer, error);
}

HANDLER(handle_lab_snapshot_list) {
    return lab_snapshot_list(request->home, answer, error);
}

HANDLER(handle_lab_snapshot_inspect) {
    return lab_snapshot_inspect(request->home, request->argument, answer, error);
}

HANDLER(handle_lab_snapshot_remove) {
    return lab_snapshot_remove(request->home, &request->operation, request->argument, answer,
                               error);
}

HANDLER(handle_lab_fork) {
    const LabForkOptions options = {.source = request_text(request, "source"),
                                    .name = request_text(request, "name"),
                                    .count = (unsigned)request_number(request, "count", 1),
                                    .clone_volumes = request_flag(request, "clone_volumes")};
    return lab_fork(request->home, &request->operation, &options, answer, error);
}
