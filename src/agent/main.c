/* SPDX-License-Identifier: Apache-2.0 */
/* ramet-agent: the guest's side. As PID 1 it is the initramfs's /init (init.c); else a service.
 * Then it serves one virtio-serial port for ever. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/apic_timer.h"
#include "agent/exec.h"
#include "agent/freeze.h"
#include "agent/init.h"
#include "agent/loop.h"
#include "agent/power.h"
#include "agent/requests.h"

#define PORT_LIMIT_USEC 60000000u

/* Streams have three descriptors each. */
static void raise_limits(void) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 4096 && limit.rlim_max >= 4096) {
        limit.rlim_cur = 4096;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int serve(int port_fd, bool is_init) {
    static Session session;
    int signal_fd = loop_open_signals();
    int r = signal_fd < 0 ? signal_fd : session_init(&session, port_fd, is_init, requests_take);

    if (r < 0) {
        agent_log("cannot start: %s", strerror(-r));
        return r;
    }
    exec_prepare();
    apic_timer_open();
    session_announce(&session);
    for (;;) {
        r = loop_run(&session, signal_fd, false);
        if (session.power == POWER_NONE)
            return r;
        power_act(session.power, is_init);
        session.power = POWER_NONE; /* under another init: its end will be ours */
    }
}

int main(int argc, char **argv) {
    bool is_init = getpid() == 1;
    int port_fd = -1;

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("ramet-agent %s\n", RAMET_VERSION);
        return 0;
    }
    if (is_init) {
        init_run(argv, &port_fd);
        is_init = getpid() == 1;
    } else {
        freeze_thaw_left_over();
        port_fd = port_find(AGENT_PORT_NAME, now_usec() + PORT_LIMIT_USEC);
    }
    if (port_fd < 0) {
        agent_log("cannot open the port " AGENT_PORT_NAME ": %s", strerror(-port_fd));
        return 1;
    }
    raise_limits();
    return serve(port_fd, is_init) < 0 ? 1 : 0;
}
