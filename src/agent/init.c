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

#include "agent/init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent/identity.h"
#include "agent/modules.h"
#include "agent/network.h"
#include "agent/port.h"
#include "agent/power.h"
#include "agent/root.h"
#include "agent/timer_chip.h"
#include "agent/uevent.h"
#include "proto/agent.h"

#define DEVICE_LIMIT_USEC 60000000u
#define UNIT_FOLDER "/run/systemd/system"

static const char unit_text[] = "[Unit]\n"
                                "Description=Ramet guest agent\n"
                                "DefaultDependencies=no\n"
                                "IgnoreOnIsolate=yes\n"
                                "[Service]\n"
                                "ExecStart=" RUN_FOLDER "/agent\n"
                                "Restart=always\n"
                                "KillMode=process\n"
                                "OOMScoreAdjust=-900\n"
                                "TasksMax=infinity\n";

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

static void __attribute__((noreturn)) fail(const Result *result, int port_fd) {
    char message[600], json[800];
    Port port;

    agent_log("%s", result->text);
    quote_json(result->text, message, sizeof(message));
    int length = snprintf(json, sizeof(json),
                          "{\"error\":{\"code\":\"guest_not_ready\",\"message\":\"%s\"}}", message);

    if (port_fd < 0)
        port_fd = port_find(AGENT_PORT_NAME, now_usec() + 5000000u);
    if (port_fd >= 0 && port_init(&port, port_fd) == 0) {
        port_send(&port, 0, 0, FRAME_ERROR, json, (size_t)length);
        port_drain(&port, now_usec() + 5000000u);
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
        (void)identity_cover_machine_id(value);
        (void)symlink("/dev/null", UNIT_FOLDER "/systemd-machine-id-commit.service");
    }
    if (cmdline_value("systemd.hostname=", value, sizeof(value)) == 0)
        (void)identity_name(value);
}

static void prepare_systemd(int self_fd, Result *result) {
    int r = make_folders(UNIT_FOLDER "/sysinit.target.wants", 0755);

    if (r == 0)
        r = copy_agent(self_fd, RUN_FOLDER "/agent");
    if (r == 0)
        r = write_text(UNIT_FOLDER "/ramet-agent.service", unit_text, 0644);
    if (r == 0 && symlink("../ramet-agent.service",
                          UNIT_FOLDER "/sysinit.target.wants/ramet-agent.service") < 0)
        r = -errno;
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

void init_run(char **argv, int *port_fd) {
    Result result = {0};
    int self_fd = open("/init", O_RDONLY | O_CLOEXEC);

    mount_early();
    _cleanup_close_ int uevents = uevent_open();
    uint64_t deadline = now_usec() + DEVICE_LIMIT_USEC;

    modules_load();
    timer_chip_stop();
    if (root_mount(uevents, deadline, &result) < 0 || root_switch(&result) < 0)
        fail(&result, -1);
    mount_run();
    const char *init = find_init();

    if (init)
        hand_over(init, argv, self_fd);
    close_fd(&self_fd);
    if (!init)
        mount_for_programs();
    *port_fd = port_find(AGENT_PORT_NAME, deadline);
    if (*port_fd < 0) {
        result_fail(&result, -*port_fd,
                    "no channel to the host (virtio-serial port " AGENT_PORT_NAME ")");
        fail(&result, -1);
    }
}
