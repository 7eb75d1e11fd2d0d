/* SPDX-License-Identifier: Apache-2.0 */
#include "pool/warm_program.h"

#include <errno.h>

#include "machine/machine.h"
#include "machine/program.h"

int warm_program_start(Home *home, Operation *operation, const VmRow *row, Error *error) {
    const ImageConfig *config = &row->spec.config;
    uint64_t seconds =
        config->ready_timeout_s ? config->ready_timeout_s : (uint64_t)VM_WAIT_FOR_SECONDS;
    int r = program_start_anew(home, row, error);
    if (r >= 0 && config->ready)
        r = vm_wait_for(home, operation, row->id, config->ready, seconds, error);
    if (r == -ETIMEDOUT)
        error_set_hint(error, "look whether its program runs: ramet run --cold boots a VM of the "
                              "image without waiting for it");
    return r;
}
