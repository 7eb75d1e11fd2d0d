/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about seeds. */

#include <errno.h>

#include "base/str.h"
#include "daemon/handlers.h"
#include "storage/seeds.h"

HANDLER(handle_seed_list) {
    return seed_list(request->home, answer, error);
}

HANDLER(handle_seed_create) {
    const SeedOptions options = {.name = request_text(request, "name"),
                                 .folder = request_text(request, "from"),
                                 .size_bytes = request_number(request, "size", 0),
                                 .replace = request_flag(request, "replace")};
    int r = peer_check_folder(request->peer, options.folder, error);
    return r < 0 ? r : seed_create(request->home, &request->operation, &options, answer, error);
}

HANDLER(handle_seed_inspect) {
    return seed_inspect(request->home, request->argument, answer, error);
}

HANDLER(handle_seed_remove) {
    (void)answer;
    return seed_remove(request->home, request->argument, error);
}
