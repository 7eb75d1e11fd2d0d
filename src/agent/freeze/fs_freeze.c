/* SPDX-License-Identifier: Apache-2.0 */
/* Once the disks are frozen, whoever writes to them sleeps until the thaw. The agent must not: its
 * program lies in the initramfs or in /run, so do its own files, and it never writes elsewhere
 * between the two. A file system that is mounted at several places is frozen once.
 *
 * What the guest has frozen itself stays frozen, in the source and in its clones: only what the
 * agent froze is thawed. A file in /run says what that is, for the agent that comes after one that
 * was ended meanwhile. */

#include "agent/freeze/fs_freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "agent/base/mounts.h"

#define FROZEN_FILE RUN_FOLDER "/frozen"
#define NOTED_MAX 512

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

/* What the agent froze, for one that comes after it: a page of a file in memory, so that a clone
 * clears it without a system call. Ends with a device 0:0. */
typedef struct Device {
    uint32_t major, minor; /* as in /proc/self/mountinfo */
} Device;

static Device *noted; /* NULL: not mapped */

static int map_noted(void) {
    void *map = noted;
    int r = noted ? 0 : map_run_file(FROZEN_FILE, 0600, NOTED_MAX * sizeof(Device), &map, NULL);
    noted = map;
    return r;
}

static void note(size_t index, uint32_t major, uint32_t minor) {
    noted[index].major = major;
    noted[index].minor = minor;
}

static bool is_noted(const Mount *mount) {
    for (size_t i = 0; i < NOTED_MAX && (noted[i].major || noted[i].minor); i++)
        if (noted[i].major == mount->major && noted[i].minor == mount->minor)
            return true;
    return false;
}

/* Folders of what is frozen, in that order: a clone's first moments are too dear for another look
 * at the list of mounts. */
static int *frozen; /* owned, and so are the descriptors */
static size_t n_frozen;

/* True when it is the agent who froze it. EBUSY: the guest has, itself; EOPNOTSUPP: it cannot be
 * frozen, and was synced. */
static int freeze_file_system(int fd, const Mount *mount) {
    if (n_frozen + 1 >= NOTED_MAX)
        return -E2BIG;
    note(n_frozen + 1, 0, 0);
    note(n_frozen, mount->major, mount->minor);
    if (ioctl(fd, FIFREEZE, 0) == 0)
        return true;
    int r = errno == EBUSY || errno == EOPNOTSUPP ? 0 : -errno;
    note(n_frozen, 0, 0);
    return r;
}

static int freeze_one(const Mount *mount) {
    int *longer = reallocarray(frozen, n_frozen + 1, sizeof(*frozen));
    _cleanup_close_ int fd = open(mount->folder, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (!longer)
        return -ENOMEM;
    frozen = longer;
    if (fd < 0)
        return -errno;
    int r = freeze_file_system(fd, mount);
    if (r > 0)
        frozen[n_frozen++] = TAKE_FD(fd);
    return MIN_OF(r, 0);
}

void fs_thaw_all(Result *result) {
    while (n_frozen > 0) {
        int fd = frozen[--n_frozen];
        if (ioctl(fd, FITHAW, 0) < 0 && errno != EINVAL && errno != EOPNOTSUPP)
            result_fail(result, errno, "cannot thaw a file system");
        (void)close(fd);
    }
    if (noted)
        note(0, 0, 0);
}

int fs_freeze_all(Result *result) {
    _cleanup_(mounts_free) Mounts mounts = {0};
    int r = mounts_read(&mounts);
    if (r < 0)
        return result_fail(result, -r, "cannot read the list of mounts");
    r = map_noted();
    if (r < 0)
        return result_fail(result, -r, "cannot note what is frozen in " FROZEN_FILE);
    /* Later mounts may lie on earlier ones, so begin with the last. */
    for (size_t i = mounts.n; i-- > 0;) {
        if (!can_freeze(&mounts, i) || (r = freeze_one(&mounts.list[i])) == 0)
            continue;
        fs_thaw_all(&(Result){0});
        return result_fail(result, -r, "cannot freeze %s", mounts.list[i].folder);
    }
    return 0;
}

static void thaw_left_over(const Mount *mount) {
    _cleanup_close_ int fd = open(mount->folder, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && ioctl(fd, FITHAW, 0) == 0)
        agent_log("%s was left frozen; it is thawed", mount->folder);
}

void fs_thaw_left_over(void) {
    _cleanup_(mounts_free) Mounts mounts = {0};
    if (access(FROZEN_FILE, F_OK) < 0 || map_noted() < 0 || mounts_read(&mounts) < 0)
        return;
    for (size_t i = 0; i < mounts.n; i++)
        if (can_freeze(&mounts, i) && is_noted(&mounts.list[i]))
            thaw_left_over(&mounts.list[i]);
    note(0, 0, 0);
}

void fs_sync(void *unused, int in, int out, Result *result) {
    sync();
}
