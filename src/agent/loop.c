/* SPDX-License-Identifier: Apache-2.0 */
/* One turn: wait; move the data of the streams that are ready; read the port; reap children; end
 * the streams that are over; write. The set of descriptors is made anew in each turn from what
 * every part waits for just then, so there is no registration that could be forgotten or go stale.
 */

#include "agent/loop.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "agent/mailbox.h"

#define FDS_MAX (2 + 3 * 256)
#define LAST_WORDS_USEC 2000000u

int loop_open_signals(void) {
    sigset_t set;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

    return fd < 0 ? -errno : fd;
}

static void reap_children(Session *session, int signal_fd) {
    struct signalfd_siginfo info;
    int status;
    pid_t pid;

    while (read(signal_fd, &info, sizeof(info)) > 0)
        ;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        session_reap(session, pid, status);
}

static int timeout_ms(const Session *session) {
    uint64_t now = now_usec(), soonest = session->frozen ? session->vigil.ends_at_usec : 0;

    for (const Stream *stream = session->streams; stream; stream = stream->next)
        if (stream->kill_at_usec != 0 && (soonest == 0 || stream->kill_at_usec < soonest))
            soonest = stream->kill_at_usec;
    if (soonest == 0)
        return -1;
    return soonest <= now ? 0 : (int)((soonest - now) / 1000) + 1;
}

static int turn(Session *session, int signal_fd) {
    struct pollfd fds[FDS_MAX];
    size_t n_fds = 2;
    int r = 0;

    fds[0].fd = port_poll_fd(&session->port, &fds[0].events);
    fds[1] = (struct pollfd){.fd = signal_fd, .events = POLLIN};
    for (Stream *stream = session->streams; stream; stream = stream->next)
        stream_collect(stream, &session->port, fds, &n_fds);
    if (poll(fds, (nfds_t)n_fds, timeout_ms(session)) < 0)
        return errno == EINTR ? 0 : -errno;

    for (Stream *stream = session->streams; stream; stream = stream->next)
        stream_pump(stream, &session->port, session->id, fds);
    if (fds[0].revents)
        port_woken(&session->port, fds[0].revents);
    if (session->port.connected && fds[0].revents)
        r = session_read(session);
    if (fds[1].revents)
        reap_children(session, signal_fd);
    session_sweep(session);
    port_flush(&session->port);
    if (session->frozen && session->vigil.ends_at_usec <= now_usec())
        session_thaw(session, &(Result){0});
    return r;
}

/* What is answered at once goes back in the same way. */
static void take_mail(Session *session, const uint8_t *bytes, size_t size) {
    session->port.detour = mailbox_answer;
    session_input(session, bytes, size);
    port_flush(&session->port);
    session->port.detour = NULL;
}

/* Asks mailbox and port again and again, and seldom the clock. A snapshot is taken and a clone
 * wakes somewhere in here. */
static void keep_vigil(Session *session) {
    for (unsigned turns = 1; session->vigil.on && session->port.connected; turns++) {
        const uint8_t *bytes = NULL;
        size_t size = mailbox_wait(&bytes);

        if (size > 0)
            take_mail(session, bytes, size);
        if (session_read(session) < 0 || (turns % 16 == 0 && !vigil_keep(&session->vigil)))
            return;
        port_flush(&session->port);
    }
}

int loop_run(Session *session, int signal_fd, bool until_hangup) {
    while (session->power == POWER_NONE) {
        keep_vigil(session);
        int r = turn(session, signal_fd);

        if (r == -EPIPE && until_hangup)
            return 0;
        /* Any error of the port means that the host is away; it is waited for. */
    }
    port_drain(&session->port, now_usec() + LAST_WORDS_USEC);
    return 0;
}
