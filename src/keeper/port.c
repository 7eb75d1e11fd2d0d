/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/str.h"
#include "keeper/keeper.h"

/* The agent's port: moves bytes between QEMU's socket and the link. One read a round, so that a
 * guest that floods the port leaves the loop time for everybody else. */

#define DRAIN_ROUNDS_MAX 64
#define LOSSES_LOGGED_MAX 20

/* 1: something was read; 0: nothing there; negative: the end. */
static int read_once(Keeper *keeper) {
    size_t size;
    uint8_t *space = link_space(&keeper->link, &size);
    ssize_t got = recv(keeper->port.fd, space, size, MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (got == 0)
        return -ECONNRESET;
    link_received(&keeper->link, (size_t)got);
    return 1;
}

static int write_once(Keeper *keeper) {
    size_t size;
    const uint8_t *bytes = link_output(&keeper->link, &size);
    if (size == 0)
        return 0;
    ssize_t sent = send(keeper->port.fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    link_output_taken(&keeper->link, (size_t)sent);
    return (int)sent;
}

/* The socket's end comes with QEMU's, which the pidfd tells; here it is only not watched any more.
 */
static void stop_watching(Keeper *keeper) {
    watched_close(&keeper->port);
}

static void want_out(Keeper *keeper) {
    size_t size;
    (void)link_output(&keeper->link, &size);
    if (!keeper->port.source || keeper->port_wants_out == (size > 0))
        return;
    keeper->port_wants_out = size > 0;
    (void)loop_set_events(keeper->port.source, EPOLLIN | (size > 0 ? EPOLLOUT : 0));
}

void port_flush(Keeper *keeper) {
    if (keeper->port.fd < 0)
        return;
    if (write_once(keeper) < 0)
        stop_watching(keeper);
    else
        want_out(keeper);
}

static void on_port(void *data, uint32_t events) {
    Keeper *keeper = data;
    int r = 0;
    mailbox_take(keeper); /* what the agent said there came first */
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        r = read_once(keeper);
    if (r >= 0 && (events & EPOLLOUT) && write_once(keeper) > 0)
        session_pump_all(keeper);
    if (r < 0)
        stop_watching(keeper);
    session_finish(keeper); /* flushes, too */
}

int port_watch(Keeper *keeper) {
    return watched_add(keeper, &keeper->port, EPOLLIN, on_port);
}

void port_drain(Keeper *keeper) {
    for (int i = 0; i < DRAIN_ROUNDS_MAX && keeper->port.fd >= 0; i++)
        if (read_once(keeper) <= 0)
            break;
}

void port_free(Keeper *keeper) {
    watched_close(&keeper->port);
    link_close(&keeper->link);
}

static void on_announced(void *data) {
    start_heard(data);
}

static void on_welcomed(void *data, const LinkWelcome *welcome) {
    Keeper *keeper = data;
    keeper->welcome = *welcome;
    start_welcomed(keeper);
}

/* The agent's early error; `text` is from the guest. */
static void on_failed(void *data, const char *text, size_t size) {
    Keeper *keeper = data;
    if (keeper->state != KEEPER_STARTING)
        return;
    _cleanup_json_ json_t *json = NULL;
    Error told = ERROR_INIT, error = ERROR_INIT;
    const char *message = "it does not say why";
    _cleanup_free_ char *clean = NULL;
    if (json_parse("the agent's error", text, size, &json, NULL) == 0 &&
        json_to_error(json, &told) == 0) {
        clean = str_sanitize(told.message, strlen(told.message));
        message = clean;
    }
    (void)error_set(&error, ERROR_GUEST_NOT_READY, 0, "the guest cannot start: %s", message);
    error_clear(&told);
    start_fail(keeper, &error);
}

/* The guest could make this happen without end: it must not fill the log. */
static void on_lost(void *data, const char *why) {
    Keeper *keeper = data;
    if (keeper->losses++ < LOSSES_LOGGED_MAX)
        log_warning("agent: %s; greeting it again", why);
}

const LinkHandlers port_handlers = {
    .announced = on_announced, .welcomed = on_welcomed, .failed = on_failed, .lost = on_lost};
