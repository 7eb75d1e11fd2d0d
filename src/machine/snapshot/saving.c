/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/snapshot/saving.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/str.h"
#include "frozen/pins.h"
#include "frozen/snapshot_key.h"
#include "home/host.h"
#include "home/row.h"
#include "qemu/features.h"
#include "storage/bases.h"

void saving_drop_files(Saving *saving) {
    publish_free(saving->files);
    saving->files = NULL;
}

void saving_free(Saving *saving) {
    if (*saving->pinned)
        snapshot_unpin(saving->home, saving->pinned);
    snapshot_row_free(&saving->row);
    saving_drop_files(saving);
    volume_clones_free(&saving->clones);
    uefi_variables_free(&saving->variables);
    if (saving->holds)
        bases_release(saving->home);
    (void)fd_close(saving->hot_fd);
}

/* What the VM was started under may differ from what the host has by now. */
static int find_facts(Home *home, const VmRow *vm, SnapshotFacts *facts, Error *error) {
    _cleanup_(qemu_features_free) QemuFeatures features = {0};
    const char *accel;
    int r;
    if (vm->runtime.facts.format && vm_state_is_active(vm->state)) {
        snapshot_facts_copy(&vm->runtime.facts, facts);
        return 0;
    }
    r = host_probe(home, &features, &accel, error);
    if (r >= 0)
        snapshot_facts(&features, accel, vm, facts);
    return r;
}

void saving_note_disks(Saving *saving) {
    const VmRow *vm = saving->vm;
    VmDisks *disks = &saving->row.data.disks;
    disks->count = vm->spec.mounts.count;
    for (size_t i = 0; i < disks->count; i++)
        str_set(disks->items[i].layer, vm->runtime.disks.items[i].layer);
    str_set(saving->row.layer, vm->runtime.root.layer);
}

/* It is of no image, and holds no disk of its VM's. */
static void leave_disks_out(SnapshotRow *row) {
    row->image[0] = row->image_digest[0] = row->layer[0] = '\0';
    str_replace(&row->data.base_path, NULL);
    row->data.spec.mounts.count = row->data.disks.count = 0;
}

int saving_fill_row(Saving *saving, Error *error) {
    _cleanup_free_ char *id = random_hex(16);
    const SnapshotOptions *options = saving->options;
    const VmRow *vm = saving->vm;
    SnapshotRow *row = &saving->row;
    int r;
    *row = (SnapshotRow){.state = SNAPSHOT_CREATING,
                         .automatic = options->purpose != NULL,
                         .created_at_usec = clock_realtime_usec(),
                         .data = {.scheduled = options->scheduled,
                                  .base_path = str_copy(vm->runtime.base),
                                  .memory_bytes = vm->spec.memory_bytes}};
    vm_spec_copy(&vm->spec, &row->data.spec);
    str_set(row->id, id);
    str_set(row->name, str_or_empty(options->name));
    str_set(row->purpose, str_or_empty(options->purpose));
    str_set(row->vm, vm->name);
    str_set(row->vm_id, vm->id);
    str_set(row->image, vm->image);
    str_set(row->image_digest, vm->image_digest);
    str_set(row->parent, vm->snapshot);
    str_set(row->data.kernel_key, vm->runtime.kernel_key);
    str_set(row->data.initramfs_key, vm->runtime.initramfs_key);
    str_set(row->data.guest_macs, vm->runtime.guest_macs);
    saving_note_disks(saving);
    str_set(row->data.ssh_host_key, vm->runtime.ssh_host_key);
    if (options->kernel_only)
        leave_disks_out(row);
    r = find_facts(saving->home, vm, &row->data.facts, error);
    if (r >= 0 && vm_state_is_active(vm->state))
        snapshot_key(&row->data.facts, row->key);
    if (r >= 0 && options->key)
        str_set(row->key, options->key);
    return r;
}
