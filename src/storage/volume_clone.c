/* SPDX-License-Identifier: Apache-2.0 */

#include "storage/volume_clone.h"

#include <errno.h>
#include <fcntl.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "disk/sparse.h"
#include "frozen/disks.h"
#include "home/inside.h"
#include "storage/volumes.h"

int volume_clones_check(const VmRow *vm, bool wanted, Error *error) {
    for (size_t i = 0; i < vm->spec.mounts.count; i++) {
        const VmMount *mount = &vm->spec.mounts.items[i];
        if (!vm_mount_is_shared(mount) || wanted)
            continue;
        error_set(error, ERROR_CONFLICT, EBUSY,
                  "%s writes to volume %s, which its clones cannot write to as well", vm->name,
                  mount->name);
        error_set_hint(error, "--clone-volumes gives them a copy of it as it is then");
        return -EBUSY;
    }
    return 0;
}

static int begin_one(Home *home, VmMount *mount, VolumeClones *clones, size_t index, Error *error) {
    _cleanup_free_ char *hex = random_hex(32), *name = str_format("clone-%s.raw", hex);
    const PublishOptions options = {
        .home = home->path, .kind = SEED_KIND, .name = name, .cancel_fd = -1};
    bool exists;
    int r = publish_begin(&options, &clones->items[clones->count].publish, &exists, error);
    if (r < 0)
        return r;
    (void)snprintf(clones->items[clones->count].base, VM_BASE_SIZE, BASE_CLONE_PREFIX "%s", hex);
    clones->items[clones->count].mount = index;
    mount->kind = VM_MOUNT_SEED;
    mount->name[0] = mount->volume[0] = '\0';
    str_set(mount->base, clones->items[clones->count].base);
    clones->count++;
    return 0;
}

int volume_clones_begin(Home *home, const VmRow *vm, VmMounts *mounts, VolumeClones *clones,
                        Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < vm->spec.mounts.count; i++)
        if (vm_mount_is_shared(&vm->spec.mounts.items[i]))
            r = begin_one(home, &mounts->items[i], clones, i, error);
    return r;
}

/* The QEMU of a VM that runs has it locked; else nobody may write to it meanwhile. */
static int open_source(Home *home, const VmRow *vm, const VmMount *mount, Error *error) {
    _cleanup_free_ char *path = volume_path(home, mount->volume);
    int fd = -1, r;
    if (!vm_state_is_active(vm->state)) {
        r = volume_open_locked(home, mount->volume, mount->name, vm->id, false, &fd, error);
        return r < 0 ? r : fd;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? error_set_errno(error, errno, "cannot open volume %s", mount->name) : fd;
}

int volume_clones_copy(Home *home, const VmRow *vm, VolumeClones *clones, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < clones->count; i++) {
        const VmMount *mount = &vm->spec.mounts.items[clones->items[i].mount];
        _cleanup_close_ int fd = open_source(home, vm, mount, error);
        r = fd < 0 ? fd
                   : file_clone_or_sparse_copy(fd, publish_scratch_fd(clones->items[i].publish),
                                               NULL, error);
    }
    return r;
}

int volume_clones_publish(VolumeClones *clones, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < clones->count; i++)
        r = publish_commit(clones->items[i].publish, error);
    return r;
}

void volume_clones_free(VolumeClones *clones) {
    for (size_t i = 0; i < clones->count; i++)
        publish_free(clones->items[i].publish);
    clones->count = 0;
}
