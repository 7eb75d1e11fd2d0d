/* SPDX-License-Identifier: Apache-2.0 */
#include "network/ends.h"

#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "home/row.h"
#include "proto/keeper.h"

#define KEEPER_TIMEOUT_USEC (10 * USEC_PER_SEC)

void ends_close(Ends *ends) {
    for (size_t i = 0; i < ARRAY_SIZE(ends->fds); i++)
        ends->fds[i] = fd_close(ends->fds[i]);
}

int ends_ask(Home *home, const VmRow *vm, Ends *ends, Error *error) {
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(home, vm->id, &dir_fd, error);
    memset(ends->fds, 0xff, sizeof(ends->fds));
    return r < 0 ? r
                 : keeper_ask_peers(dir_fd, ends->fds, clock_monotonic_usec() + KEEPER_TIMEOUT_USEC,
                                    error);
}
