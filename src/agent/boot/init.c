/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: file systems of the kernel, modules, root disk, switch of roots; then the image
 * decides.
 *
 * - systemd: a tmpfs on /run gets the agent and a unit for it, wanted by sysinit.target, and
 * systemd takes over as PID 1. The image's disk is not written to.
 * - another init: the agent goes on as a child of it, started before it.
 * - none: the agent stays PID 1 and mounts what user space expects.
 *
 * A failure is told on the console and to the keeper, which need not wait for its time limit then.
 */

#include "agent/boot/init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent/base/uevent.h"
#include "agent/boot/modules.h"
#include "agent/boot/power.h"
#include "agent/boot/root.h"
#include "agent/boot/wait_disks.h"
#include "agent/disk/disks.h"
#include "agent/emulated/timer_chip.h"
#include "agent/identity/guest_identity.h"
#include "agent/identity/network.h"
#include "agent/session/channel.h"
#include "proto/agent.h"
#include "proto/agent_unit.h"

#define DEVICE_LIMIT_USEC 60000000u
#define NO_CHANNEL "no channel to the host (virtio-serial port " AGENT_CHANNEL_NAME ")"
#define UNIT_FOLDER "/run/systemd/system"

/* A boot that fails, or that is asked to, ends in the second of them without the first. */
static const char *const wanted_by[] = {"sysinit.target", "emergency.target"};

/* ---- failure ---- */

static void quote_json(const char *text, char *quoted, size_t room) {
    size_t n = 0;
    for (; *text && n + 7 < room; text++) {
        if (*text == '"' || *text == '\\')
            quoted[n++] = '\\';
        quoted[n++] = (unsigned char)*text < 0x20 ? ' ' : *text;
    }
    quoted[n] = '\0';
}

static void __attribute__((noreturn)) fail(const Result *result, int channel_fd) {
    char message[600], json[800];
    Channel channel;
    agent_log("%s", result->text);
    quote_json(result->text, message, sizeof(message));
    int length = snprintf(json, sizeof(json),
                          "{\"error\":{\"code\":\"guest_not_ready\",\"message\":\"%s\"}}", message);
    if (channel_fd < 0)
        channel_fd = channel_find(AGENT_CHANNEL_NAME, now_usec() + 5000000u);
    if (channel_fd >= 0 && channel_init(&channel, channel_fd) == 0) {
        channel_send(&channel, 0, FRAME_ERROR, json, (size_t)length);
        channel_drain(&channel, now_usec() + 5000000u);
    }
    power_off_now();
}

/* ---- parts ---- */

static void mount_kernel(const char *type, const char *folder, unsigned long flags,
                         const char *options) {
    (void)mkdir(folder, 0755);
    if (mount(type, folder, type, flags, options) < 0 && errno != EBUSY)
        agent_log("cannot mount %s: %s", folder, strerror(errno));
}

static void mount_early(void) {
    mount_kernel("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    mount_kernel("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    mount_kernel("devtmpfs", "/dev", MS_NOSUID, "mode=0755");
}

static void mount_run(void) {
    mount_kernel("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755");
    (void)make_folders(RUN_FOLDER, 0755);
}

/* What an init would have prepared for programs. */
static void mount_for_programs(void) {
    static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},
                                           {"/proc/self/fd/0", "/dev/stdin"},
                                           {"/proc/self/fd/1", "/dev/stdout"},
                                           {"/proc/self/fd/2", "/dev/stderr"}};
    mount_kernel("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666");
    mount_kernel("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
    for (size_t i = 0; i < ARRAY_SIZE(links); i++)
        (void)symlink(links[i][0], links[i][1]);
    if (mkdir("/tmp", 01777) == 0) /* an image without one gets it in memory */
        mount_kernel("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777");
    (void)mkdir("/etc", 0755); /* for names, where the image is a program and nothing else */
    (void)network_raise_loopback();
}

static const char *find_init(void) {
    static const char *const names[] = {"/sbin/init", "/lib/systemd/systemd",
                                        "/usr/lib/systemd/systemd"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (access(names[i], X_OK) == 0)
            return names[i];
    return NULL;
}

/* An image of a container is for one program, whatever else lies in it. */
static bool agent_is_init(void) {
    char value[16];
    return cmdline_value("ramet.init=", value, sizeof(value)) == 0 && strcmp(value, "agent") == 0;
}

static bool is_systemd(const char *init) {
    char target[4096];
    return realpath(init, target) && strstr(target, "systemd");
}

static int copy_agent(int self_fd, const char *path) {
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    char buffer[16384];
    ssize_t n;
    int r = fd < 0 ? -errno : 0;
    while (r == 0 && (n = read(self_fd, buffer, sizeof(buffer))) != 0)
        r = n < 0 ? -errno : write_all(fd, buffer, (size_t)n);
    return r;
}

/* systemd reads these two before the keeper can send the identity, so the kernel's command line
 * brings them. They cover the image's files; systemd would write to those otherwise, as would the
 * service that makes a covered machine-id permanent. */
static void cover_early_identity(void) {
    char value[80];
    if (cmdline_value("systemd.machine_id=", value, sizeof(value)) == 0 && strlen(value) == 32) {
        (void)guest_identity_cover_machine_id(value);
        (void)symlink("/dev/null", UNIT_FOLDER "/systemd-machine-id-commit.service");
    }
    if (cmdline_value("systemd.hostname=", value, sizeof(value)) == 0)
        (void)guest_identity_name(value);
}

static int want_unit(const char *target) {
    char path[200];
    (void)snprintf(path, sizeof(path), UNIT_FOLDER "/%s.wants", target);
    int r = make_folders(path, 0755);
    (void)snprintf(path, sizeof(path), UNIT_FOLDER "/%s.wants/ramet-agent.service", target);
    return r == 0 && symlink("../ramet-agent.service", path) < 0 ? -errno : r;
}

static void prepare_systemd(int self_fd, Result *result) {
    int r = make_folders(UNIT_FOLDER, 0755);
    if (r == 0)
        r = copy_agent(self_fd, RUN_FOLDER "/agent");
    if (r == 0)
        r = write_text(UNIT_FOLDER "/ramet-agent.service", AGENT_UNIT, 0644);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(wanted_by); i++)
        r = want_unit(wanted_by[i]);
    if (r < 0)
        result_fail(result, -r, "cannot put the agent into /run");
    else
        cover_early_identity();
}

static void hand_over(const char *init, char **argv, int self_fd) {
    Result result = {0};
    bool systemd = is_systemd(init);
    if (systemd)
        prepare_systemd(self_fd, &result);
    if (result.error != 0)
        fail(&result, -1);
    if (!systemd && fork() == 0) {
        (void)setsid();
        return; /* the agent, beside another init */
    }
    argv[0] = (char *)init;
    (void)execv(init, argv);
    result_fail(&result, errno, "cannot start %s", init);
    fail(&result, -1);
}

/* The kernel looks twice a second whether memory could be compacted ahead of need: most of what an
 * idle clone does. It is compacted when somebody needs it all the same (sysctl/vm.rst). */
static void compact_on_demand(void) {
    (void)write_text("/proc/sys/vm/compaction_proactiveness", "0\n", 0644);
}

void init_run(char **argv, int *channel_fd) {
    Result result = {0};
    int self_fd = open("/init", O_RDONLY | O_CLOEXEC);
    mount_early();
    _cleanup_close_ int uevents = uevent_open();
    uint64_t deadline = now_usec() + DEVICE_LIMIT_USEC;
    modules_load();
    (void)timer_chip_stop();
    compact_on_demand();
    if (wait_disks_is_asked()) {
        int r = wait_disks(deadline);
        if (r < 0) {
            result_fail(&result, -r, NO_CHANNEL);
            fail(&result, -1);
        }
        deadline = now_usec() + DEVICE_LIMIT_USEC;
    }
    if (root_mount(uevents, deadline, &result) < 0 || root_switch(&result) < 0)
        fail(&result, -1);
    mount_run();
    if (disks_mount(uevents, deadline, &result) < 0)
        fail(&result, -1);
    const char *init = agent_is_init() ? NULL : find_init();
    if (init)
        hand_over(init, argv, self_fd);
    close_fd(&self_fd);
    if (!init)
        mount_for_programs();
    *channel_fd = channel_find(AGENT_CHANNEL_NAME, deadline);
    if (*channel_fd < 0) {
        result_fail(&result, -*channel_fd, NO_CHANNEL);
        fail(&result, -1);
    }
}
