/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/qemu/batch.h"

#include "keeper/qemu/machine.h"

int batch_add(Batch *batch, const char *command, json_t *arguments, int fd, Error *error) {
    _cleanup_json_ json_t *owned = arguments;
    int r = qmp_send(batch->qmp, command, owned, fd, machine_deadline(), &batch->ids[batch->count],
                     error);
    if (r == 0)
        batch->count++;
    return r;
}

int batch_wait(Batch *batch, size_t count, Error *error) {
    int first = 0;
    for (; count > 0 && batch->received < batch->count; count--) {
        Error *to = first == 0 ? error : NULL;
        int r =
            qmp_receive(batch->qmp, batch->ids[batch->received++], machine_deadline(), NULL, to);
        if (first == 0)
            first = r;
    }
    return first;
}

int batch_wait_all(Batch *batch, Error *error) {
    return batch_wait(batch, BATCH_MAX, error);
}
