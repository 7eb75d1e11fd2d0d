/* SPDX-License-Identifier: Apache-2.0 */
/* Each case runs in a child with a mount namespace of its own, where /dev/kvm is a node with the
 * owner and mode of the case. No KVM is needed: the node is /dev/null's. */

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "check.h"
#include "zygote/privileges.h"

#define DEVICE "/dev/kvm"
#define USER 600000001u
#define GROUP 600000002u

typedef struct Case {
    mode_t mode;
    gid_t owner;  /* the group that it belongs to */
    int groups;   /* that the VM's user must have */
    bool private; /* the node must be another one */
} Case;

/* False where this may not be done. */
static bool enter_host(const Case *is) {
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("dev", "/dev", "tmpfs", 0, "mode=0755") < 0)
        return false;
    CHECK_INT(mknod(DEVICE, S_IFCHR | 0600, makedev(1, 3)), 0);
    CHECK_INT(chmod(DEVICE, is->mode), 0);
    CHECK_INT(chown(DEVICE, 0, is->owner), 0);
    return true;
}

static int look(const Case *is) {
    const char *failed = "";
    struct stat before, after;
    gid_t groups[8];
    int r;
    if (!enter_host(is))
        return 77;
    CHECK_INT(stat(DEVICE, &before), 0);
    r = privileges_drop(USER, USER, true, &failed);
    if (r < 0)
        fprintf(stderr, "cannot %s: %s\n", failed, strerror(-r));
    CHECK_INT(r, 0);
    CHECK_INT(geteuid(), USER);
    CHECK_INT(getgroups(8, groups), is->groups);
    CHECK(is->groups == 0 || groups[0] == GROUP);
    CHECK(open(DEVICE, O_RDWR | O_CLOEXEC) >= 0);
    CHECK_INT(stat(DEVICE, &after), 0);
    CHECK_INT(after.st_rdev, before.st_rdev);
    CHECK_INT(after.st_dev != before.st_dev, is->private);
    CHECK(access("/tmp/kvm", F_OK) < 0); /* what it was made in is gone again */
    return 0;
}

static void run_case(Case is) {
    pid_t pid = fork();
    int status = -1;
    if (pid == 0)
        _exit(look(&is));
    CHECK_INT(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        SKIP("no mount namespace can be made here");
    CHECK_INT(status, 0);
}

static void test_everybodys(void) {
    run_case((Case){.mode = 0666, .owner = GROUP});
}

static void test_a_groups(void) {
    run_case((Case){.mode = 0660, .owner = GROUP, .groups = 1});
}

static void test_roots(void) {
    run_case((Case){.mode = 0600, .owner = GROUP, .private = true});
    run_case((Case){.mode = 0640, .owner = GROUP, .private = true});
}

/* Nobody is put into root's group. */
static void test_roots_group(void) {
    run_case((Case){.mode = 0660, .owner = 0, .private = true});
}

int main(void) {
    if (geteuid() != 0)
        SKIP("only root gives up being root");
    RUN(test_everybodys);
    RUN(test_a_groups);
    RUN(test_roots);
    RUN(test_roots_group);
    return 0;
}
