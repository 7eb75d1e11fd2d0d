/* SPDX-License-Identifier: Apache-2.0 */
/* Once the disks are frozen, whoever writes to them sleeps until the thaw. The agent must not: its
 * program lies in the initramfs or in /run, so do its own files, and it never writes elsewhere
 * between the two. A file system that is mounted at several places is frozen once. */

#include "agent/freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "agent/mounts.h"

static bool seen_before(const Mounts *mounts, size_t index) {
    for (size_t i = 0; i < index; i++)
        if (mounts->list[i].major == mounts->list[index].major &&
            mounts->list[i].minor == mounts->list[index].minor)
            return true;
    return false;
}

static bool can_freeze(const Mounts *mounts, size_t index) {
    const Mount *mount = &mounts->list[index];

    return mount->on_disk && !mount->read_only && !seen_before(mounts, index);
}

/* Folders of what is frozen, in that order: a clone's first moments are too dear for another look
 * at the list of mounts. */
static int *frozen; /* owned, and so are the descriptors */
static size_t n_frozen;

static int freeze_one(const Mount *mount) {
    int *longer = reallocarray(frozen, n_frozen + 1, sizeof(*frozen));
    _cleanup_close_ int fd = open(mount->folder, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (!longer)
        return -ENOMEM;
    frozen = longer;
    /* EBUSY: frozen already; EOPNOTSUPP: the file system cannot, and was synced */
    if (fd < 0 || (ioctl(fd, FIFREEZE, 0) < 0 && errno != EBUSY && errno != EOPNOTSUPP))
        return -errno;
    frozen[n_frozen++] = fd;
    fd = -1;
    return 0;
}

void freeze_thaw_all(Result *result) {
    while (n_frozen > 0) {
        int fd = frozen[--n_frozen];

        if (ioctl(fd, FITHAW, 0) < 0 && errno != EINVAL && errno != EOPNOTSUPP)
            result_fail(result, errno, "cannot thaw a file system");
        (void)close(fd);
    }
}

int freeze_all(Result *result) {
    _cleanup_(mounts_free) Mounts mounts = {0};
    int r = mounts_read(&mounts);

    if (r < 0)
        return result_fail(result, -r, "cannot read the list of mounts");
    /* Later mounts may lie on earlier ones, so begin with the last. */
    for (size_t i = mounts.n; i-- > 0;) {
        if (!can_freeze(&mounts, i) || (r = freeze_one(&mounts.list[i])) == 0)
            continue;
        freeze_thaw_all(&(Result){0});
        return result_fail(result, -r, "cannot freeze %s", mounts.list[i].folder);
    }
    return 0;
}

void freeze_thaw_left_over(void) {
    _cleanup_(mounts_free) Mounts mounts = {0};

    if (mounts_read(&mounts) < 0)
        return;
    for (size_t i = 0; i < mounts.n; i++) {
        _cleanup_close_ int fd =
            can_freeze(&mounts, i) ? open(mounts.list[i].folder, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
                                   : -1;

        if (fd >= 0 && ioctl(fd, FITHAW, 0) == 0)
            agent_log("%s was left frozen; it is thawed", mounts.list[i].folder);
    }
}

void freeze_sync(void *unused, int in, int out, Result *result) {
    sync();
}
