/* SPDX-License-Identifier: Apache-2.0 */
#include "zygote/privileges.h"

/* The order matters. The bounding set can only be emptied with CAP_SETPCAP, groups only with
 * CAP_SETGID, so they go first; setresuid away from 0 then clears the other sets, which is checked
 * again through libcap-ng. no_new_privs comes last but for a filter, which needs it. */

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "zygote/kvm_device.h"

static int drop_groups_and_user(uid_t uid, gid_t gid, gid_t kept) {
    if (setgroups(kept ? 1 : 0, &kept) < 0 || setresgid(gid, gid, gid) < 0 ||
        setresuid(uid, uid, uid) < 0)
        return -errno;
    return 0;
}

static int become(uid_t uid, gid_t gid, bool kvm, const char **failed) {
    gid_t group = 0;
    int r;
    *failed = "let the VM's user open /dev/kvm";
    r = kvm ? kvm_device_admit(uid, &group) : 0;
    if (r < 0)
        return r;
    *failed = "empty the capability bounding set";
    capng_clear(CAPNG_SELECT_ALL);
    if (capng_apply(CAPNG_SELECT_BOUNDS) < 0)
        return -EPERM;
    *failed = "become the VM's user";
    r = drop_groups_and_user(uid, gid, group);
    if (r < 0)
        return r;
    *failed = "give up all capabilities";
    capng_clear(CAPNG_SELECT_ALL);
    if (capng_apply(CAPNG_SELECT_CAPS) < 0 || capng_get_caps_process() < 0 ||
        capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE)
        return -EPERM;
    *failed = "give up being root for good";
    return setresuid((uid_t)-1, 0, (uid_t)-1) == 0 ? -EPERM : 0;
}

int privileges_drop(uid_t uid, gid_t gid, bool kvm, const char **failed) {
    if (geteuid() == 0 && uid != 0) {
        int r = become(uid, gid, kvm, failed);
        if (r < 0)
            return r;
    }
    *failed = "set no_new_privs";
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}
