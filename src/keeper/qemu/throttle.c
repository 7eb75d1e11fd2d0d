/* SPDX-License-Identifier: Apache-2.0 */

#include "keeper/qemu/throttle.h"

#include "base/str.h"

/* Of what a virtio device on PCI is made, the disk is of its second half. */
static char *device_of(const Plan *plan, size_t disk) {
    return plan->firmware ? str_format("/machine/peripheral/disk%zu/virtio-backend", disk)
                          : str_format("disk%zu", disk);
}

static json_t *arguments_of(const Plan *plan, size_t disk) {
    _cleanup_free_ char *device = device_of(plan, disk);
    return json_pack("{s:s, s:I, s:i, s:i, s:I, s:i, s:i}", "id", device, "bps",
                     (json_int_t)plan->io_bytes, "bps_rd", 0, "bps_wr", 0, "iops",
                     (json_int_t)plan->io_ops, "iops_rd", 0, "iops_wr", 0);
}

int throttle_add(const Plan *plan, Batch *batch, Error *error) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < plan->n_disks && (plan->io_bytes || plan->io_ops); i++)
        r = batch_add(batch, "block_set_io_throttle", arguments_of(plan, i), -1, error);
    return r;
}

int throttle_set(Machine *machine, const Plan *plan, Error *error) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < plan->n_disks; i++)
        r = machine_call(machine, "block_set_io_throttle", arguments_of(plan, i), NULL, error);
    return r;
}
