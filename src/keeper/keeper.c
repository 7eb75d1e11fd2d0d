/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/keeper.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define IDLE_TIMEOUT_USEC (30 * USEC_PER_SEC)

static const char *const state_names[] = {"waiting", "starting", "warm",   "running",
                                          "paused",  "stopping", "stopped"};

const char *keeper_state_name(const Keeper *keeper) {
    return state_names[keeper->state];
}

void watched_close(Watched *watched) {
    watched->source = loop_remove(watched->source);
    watched->fd = fd_close(watched->fd);
}

int watched_add(Keeper *keeper, Watched *watched, uint32_t events, LoopFdHandler handler) {
    watched->source = loop_add_fd(keeper->loop, watched->fd, events, handler, keeper);
    return watched->source ? 0 : -errno;
}

/* A keeper without a start is of no use: its daemon died between spawning it and asking. */
static void on_idle(void *data) {
    Keeper *keeper = data;
    if (keeper->state == KEEPER_WAITING) {
        log_warning("no start was asked for");
        loop_quit(keeper->loop);
    }
}

int keeper_new(int listen_fd, const KeeperChild *child, Keeper *keeper, Error *error) {
    *keeper = (Keeper){.listener.fd = listen_fd,
                       .child = *child,
                       .vm_dir_fd = -1,
                       .memory_fd = -1,
                       .port.fd = -1,
                       .mailbox.ram = GUEST_RAM_INIT,
                       .boot = "cold"};
    keeper->starter = getuid();
    plan_init(&keeper->plan);
    machine_init(&keeper->machine);
    int r = loop_new(&keeper->loop);
    if (r == 0)
        r = link_init(&keeper->link, &port_handlers, keeper);
    if (r == 0)
        r = request_listen(keeper);
    if (r < 0)
        return error_set_errno(error, -r, "cannot listen");
    keeper->idle_timer =
        loop_add_timer(keeper->loop, clock_monotonic_usec() + IDLE_TIMEOUT_USEC, on_idle, keeper);
    return 0;
}

void keeper_free(Keeper *keeper) {
    session_close_all(keeper);
    request_close_all(keeper);
    snapshot_free(keeper);
    port_free(keeper);
    mailbox_stop(keeper);
    machine_free(keeper);
    link_free(&keeper->link);
    watched_close(&keeper->listener);
    loop_free(keeper->loop);
    plan_free(&keeper->plan);
    error_clear(&keeper->start.error);
    keeper->child.socket = fd_close(keeper->child.socket);
    keeper->vm_dir_fd = fd_close(keeper->vm_dir_fd);
    keeper->memory_fd = fd_close(keeper->memory_fd);
}
