/* SPDX-License-Identifier: Apache-2.0 */
/* One turn: wait; move the data of the streams that are ready; read the channel; reap children; end
 * the streams that are over; write. The set of descriptors is made anew in each turn from what
 * every part waits for just then, so there is no registration that could be forgotten or go stale.
 */

#include "agent/loop.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "agent/boot/power.h"
#include "agent/freeze/mailbox.h"

#define FDS_MAX (2 + 3 * SESSION_STREAMS_MAX)
#define LAST_WORDS_USEC 2000000u
#define PROGRAM_DIES_USEC 1000000u
#define COMMAND_ENDS_USEC 1000000u /* the command that asked for the power action */

int loop_open_signals(bool is_init) {
    sigset_t set;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    if (is_init)
        power_add_signals(&set);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

/* `poweroff` has sent its signal and is about to end: its client is to see that it went well. */
static void handle_signal(Session *session, int number) {
    PowerAction action = power_of_signal(number);
    if (action == POWER_NONE || session->power != POWER_NONE)
        return;
    session->power = action;
    session->power_at_usec = now_usec() + COMMAND_ENDS_USEC;
}

static bool power_is_due(const Session *session) {
    return session->power != POWER_NONE &&
           (!session->streams || session->power_at_usec <= now_usec());
}

static void handle_signals(Session *session, int signal_fd) {
    struct signalfd_siginfo info;
    int status;
    pid_t pid;
    while (read(signal_fd, &info, sizeof(info)) > 0)
        handle_signal(session, (int)info.ssi_signo);
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        session_reap(session, pid, status);
}

static int timeout_ms(const Session *session) {
    uint64_t now = now_usec(), soonest = session->frozen ? session->exclusive.ends_at_usec : 0;
    if (session->power != POWER_NONE && (soonest == 0 || session->power_at_usec < soonest))
        soonest = session->power_at_usec;
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
    fds[0].fd = channel_poll_fd(&session->channel, &fds[0].events);
    fds[1] = (struct pollfd){.fd = signal_fd, .events = POLLIN};
    for (Stream *stream = session->streams; stream; stream = stream->next)
        stream_collect(stream, fds, &n_fds);
    if (poll(fds, (nfds_t)n_fds, timeout_ms(session)) < 0)
        return errno == EINTR ? 0 : -errno;

    for (Stream *stream = session->streams; stream; stream = stream->next)
        stream_pump(stream, fds);
    if (fds[0].revents)
        channel_handle_events(&session->channel, fds[0].revents);
    if (session->channel.connected && fds[0].revents)
        r = session_read(session);
    if (fds[1].revents)
        handle_signals(session, signal_fd);
    session_sweep(session);
    channel_flush(&session->channel);
    if (session->frozen && session->exclusive.ends_at_usec <= now_usec())
        session_thaw(session, &(Result){0});
    return r;
}

/* What is answered at once goes back in the same way. */
static void handle_mail(Session *session, const uint8_t *bytes, size_t size) {
    session->channel.detour = mailbox_answer;
    session_input(session, bytes, size);
    channel_flush(&session->channel);
    session->channel.detour = NULL;
}

/* Asks mailbox and channel again and again, and seldom the clock. A snapshot is taken and a clone
 * wakes somewhere in here. The mailbox is closed when others have run, so that the keeper sees that
 * no snapshot should be taken. */
static void serve_exclusively(Session *session) {
    for (unsigned turns = 1; session->exclusive.on && session->channel.connected; turns++) {
        const uint8_t *bytes = NULL;
        size_t size = mailbox_wait(&bytes);
        if (size > 0)
            handle_mail(session, bytes, size);
        if (!exclusive_cpu_holds(&session->exclusive))
            mailbox_close();
        if (session_read(session) < 0 ||
            (turns % 16 == 0 && !exclusive_cpu_keep(&session->exclusive)))
            return;
        channel_flush(&session->channel);
    }
}

/* The program was asked to end and had its time: it is killed, and the host told. False: there is
 * none that goes on. */
static bool kill_program(Session *session) {
    if (!session->program_asked || session->program <= 0)
        return false;
    session->program_asked = false;
    session->power_at_usec = now_usec() + PROGRAM_DIES_USEC;
    return kill(-session->program, SIGKILL) == 0;
}

int loop_serve(Session *session, int signal_fd, bool until_hangup) {
    while (!power_is_due(session) || kill_program(session)) {
        serve_exclusively(session);
        int r = turn(session, signal_fd);
        if (r == -EPIPE && until_hangup)
            return 0;
        /* Any error of the channel means that the host is away; it is waited for. */
    }
    channel_drain(&session->channel, now_usec() + LAST_WORDS_USEC);
    return 0;
}
