/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include "base/str.h"
#include "keeper/keeper.h"
#include "memory/diff.h"

/* Loading a snapshot. A restore takes about as long as QEMU's own start, so as much as possible is
 * on its way before QEMU even runs: the monitor's commands and the greeting of the agent wait in
 * their sockets. QEMU carries the commands out one after the other once it is up (it takes the next
 * one only after the last one's reply, so that descriptors stay with their commands), and the guest
 * finds the greeting as soon as it runs, in the agent's mailbox (mailbox.c), or, where the snapshot
 * has none, in the port, which takes no bytes until then.
 *
 * Only with patches the load must wait: their pages are written into QEMU's mapping of the memory
 * base after it exists and before the devices are loaded.
 *
 * QEMU ends when it cannot load the state; its last words are the error (start.c). When it can, it
 * lets the guest run and says RESUME. */

#define QMP_TIMEOUT_USEC (60 * USEC_PER_SEC)

static uint64_t far(void) {
    return clock_monotonic_usec() + QMP_TIMEOUT_USEC;
}

/* The clone's cable is out until it has its own hardware address and name, so that it never speaks
 * with its source's. The backend's end is what is pulled: the card's own state comes with the
 * snapshot, and the guest neither sees the cable go nor spends its first moments on that. */
static bool has_cable(const Plan *plan) {
    return plan->network_card && plan->network != PLAN_NETWORK_NONE &&
           plan->boot == PLAN_BOOT_RESTORE;
}

static json_t *cable(bool in) {
    return json_pack("{s:s, s:b}", "name", QEMU_NETDEV_ID, "up", in);
}

static int pull_cable(Keeper *keeper, Error *error) {
    _cleanup_json_ json_t *out = cable(false);
    return qmp_send(keeper->machine.qmp, "set_link", out, -1, far(), &keeper->start.load_ids[2],
                    error);
}

static int send_incoming(Keeper *keeper, Error *error) {
    _cleanup_json_ json_t *uri = json_pack("{s:s}", "uri", "fd:s");
    return qmp_send(keeper->machine.qmp, "migrate-incoming", uri, -1, far(),
                    &keeper->start.load_ids[1], error);
}

static int send_state(Keeper *keeper, int state_fd, Error *error) {
    _cleanup_json_ json_t *name = json_pack("{s:s}", "fdname", "s");
    if (lseek(state_fd, 0, SEEK_SET) < 0)
        return error_set_errno(error, errno, "cannot rewind the device state");
    int r = qmp_send(keeper->machine.qmp, "getfd", name, state_fd, far(),
                     &keeper->start.load_ids[0], error);
    if (r == 0 && keeper->plan.n_patches == 0)
        r = send_incoming(keeper, error);
    return r;
}

int restore_send_ahead(Keeper *keeper, const int *fds, Error *error) {
    int r = qmp_send(keeper->machine.qmp, "qmp_capabilities", NULL, -1, far(),
                     &keeper->start.qmp_id, error);
    if (r < 0 || keeper->plan.boot == PLAN_BOOT_COLD)
        return r;
    keeper->boot = "restored";
    if (!keeper->plan.mailbox)
        r = wake_greet(keeper, keeper->plan.marker, error);
    if (r < 0)
        return r;
    port_flush(keeper);
    if (has_cable(&keeper->plan))
        r = pull_cable(keeper, error);
    return r < 0 ? r : send_state(keeper, fds[keeper->plan.state_fd], error);
}

static int patch(Keeper *keeper, const int *fds, const GuestRam *ram, Error *error) {
    const Plan *plan = &keeper->plan;
    int r = 0;
    start_stage(keeper, "patch");
    for (size_t i = 0; r == 0 && i < plan->n_patches; i++)
        r = memory_diff_patch(fds[plan->patch_fds[i]], ram, NULL, error);
    return r == 0 ? send_incoming(keeper, error) : r;
}

/* What goes into QEMU's memory. The mail may come after the guest runs: its agent waits for it. */
static int fill_memory(Keeper *keeper, const int *fds, Error *error) {
    const Plan *plan = &keeper->plan;
    _cleanup_guest_ram_ GuestRam ram = GUEST_RAM_INIT;
    int r = plan->n_patches == 0 && !plan->mailbox
                ? 0
                : guest_ram_open(keeper->machine.process.pid, keeper->memory_fd, plan->memory_bytes,
                                 &ram, error);
    if (r == 0 && plan->n_patches > 0)
        r = patch(keeper, fds, &ram, error);
    if (r < 0)
        return r;
    start_stage(keeper, "load");
    return plan->mailbox ? mailbox_post(keeper, &ram, error) : 0;
}

/* The replies may come after the event. */
static int wait_loaded(Keeper *keeper, Error *error) {
    static const char *const names[] = {"RESUME", NULL};
    _cleanup_json_ json_t *event = NULL;
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(keeper->start.load_ids); i++)
        if (keeper->start.load_ids[i])
            r = qmp_receive(keeper->machine.qmp, keeper->start.load_ids[i], far(), NULL, error);
    if (r == 0)
        r = qmp_wait_event(keeper->machine.qmp, names, far(), &event, error);
    if (r == 0)
        keeper->machine.loaded = true;
    machine_take_events(keeper);
    return r;
}

int restore_load(Keeper *keeper, const int *fds, Error *error) {
    if (keeper->plan.boot == PLAN_BOOT_COLD)
        return 0;
    int r = fill_memory(keeper, fds, error);
    return r < 0 ? r : wait_loaded(keeper, error);
}

int restore_stay_warm(Keeper *keeper, Error *error) {
    return machine_call(keeper, "stop", NULL, NULL, error);
}

int restore_plug_cable(Keeper *keeper, Error *error) {
    if (!has_cable(&keeper->plan))
        return 0;
    return machine_call(keeper, "set_link", cable(true), NULL, error);
}
