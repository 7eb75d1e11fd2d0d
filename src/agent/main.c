/* SPDX-License-Identifier: Apache-2.0 */
/* ramet-agent: the guest's side. As PID 1 it is the initramfs's /init (init.c); else a service.
 * Then it serves one virtio-serial port for ever. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/base/notify.h"
#include "agent/boot/init.h"
#include "agent/boot/power.h"
#include "agent/emulated/apic_timer.h"
#include "agent/freeze/fs_freeze.h"
#include "agent/freeze/rt_limit.h"
#include "agent/loop.h"
#include "agent/requests.h"
#include "agent/session/exec.h"

#define CHANNEL_LIMIT_USEC 60000000u

/* Streams have three descriptors each. */
static void raise_limits(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 4096 && limit.rlim_max >= 4096) {
        limit.rlim_cur = 4096;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* A guest without memory loses a command, not the way to all of them. systemd does this by the
 * unit; an init of another kind does not. PID 1 is spared anyway. */
static void spare_from_oom(void) {
    char score[16];
    if (read_text("/proc/self/oom_score_adj", score, sizeof(score)) > 0 && strcmp(score, "0") == 0)
        (void)write_text("/proc/self/oom_score_adj", "-900", 0644);
}

static int serve(int channel_fd, bool is_init) {
    static Session session;
    int signal_fd = loop_open_signals(is_init);
    int r =
        signal_fd < 0 ? signal_fd : session_init(&session, channel_fd, is_init, requests_handle);
    if (r < 0) {
        agent_log("cannot start: %s", strerror(-r));
        return r;
    }
    if (!is_init)
        spare_from_oom();
    if (!is_init)
        notify_ready_again();
    exec_prepare();
    (void)apic_timer_open();
    session_announce(&session);
    for (;;) {
        r = loop_serve(&session, signal_fd, false);
        if (session.power == POWER_NONE)
            return r;
        power_act(session.power, is_init);
        session.power = POWER_NONE; /* under another init: its end will be ours */
    }
}

int main(int argc, char **argv) {
    bool is_init = getpid() == 1;
    int channel_fd = -1;
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("ramet-agent %s\n", RAMET_VERSION);
        return 0;
    }
    if (is_init) {
        init_run(argv, &channel_fd);
        is_init = getpid() == 1;
    } else {
        fs_thaw_left_over();
        rt_limit_restore_left_over();
        channel_fd = channel_find(AGENT_CHANNEL_NAME, now_usec() + CHANNEL_LIMIT_USEC);
    }
    if (channel_fd < 0) {
        agent_log("cannot open the channel " AGENT_CHANNEL_NAME ": %s", strerror(-channel_fd));
        return 1;
    }
    raise_limits();
    return serve(channel_fd, is_init) < 0 ? 1 : 0;
}
