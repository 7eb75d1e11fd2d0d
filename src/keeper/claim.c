/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "keeper/keeper.h"

/* A warm VM gets its name: the second half of a start. Its virtual CPUs go on, its agent is greeted
 * anew, and from there on it is a start like any other (wake.c, start.c), failures included. It was
 * somebody before, under a name of its own, so that only what changes is left to do. */

#define QMP_TIMEOUT_USEC (60 * USEC_PER_SEC)

/* HMP has no error replies: what it says is the error. */
static int add_forward(Keeper *keeper, const PlanForward *forward, Error *error) {
    _cleanup_free_ char *line = str_format(
        "hostfwd_add " QEMU_NETDEV_ID " %s:%s:%u-" QEMU_USER_GUEST ":%u",
        forward->udp ? "udp" : "tcp", forward->host_ip, forward->host_port, forward->guest_port);
    _cleanup_json_ json_t *said = NULL;
    int r = machine_call(keeper, "human-monitor-command", json_pack("{s:s}", "command-line", line),
                         &said, error);
    if (r < 0)
        return r;
    const char *text = json_string_value(said);
    if (!text || !text[0])
        return 0;
    _cleanup_free_ char *clean = str_sanitize(text, strcspn(text, "\r\n"));
    return error_set(error, ERROR_CONFLICT, EADDRINUSE, "cannot forward %s port %u: %s",
                     forward->host_ip, forward->host_port, clean);
}

static int add_forwards(Keeper *keeper, Error *error) {
    int r = 0;
    if (keeper->plan.network != PLAN_NETWORK_USER)
        return 0;
    for (size_t i = 0; r == 0 && i < keeper->plan.n_forwards; i++)
        r = add_forward(keeper, &keeper->plan.forwards[i], error);
    return r;
}

static int go_on(Keeper *keeper, Error *error) {
    uint64_t id;
    int r = qmp_send(keeper->machine.qmp, "cont", NULL, -1,
                     clock_monotonic_usec() + QMP_TIMEOUT_USEC, &id, error);
    if (r == 0) {
        r = wake_greet(keeper, keeper->link.marker, error);
        port_flush(keeper);
        if (r < 0)
            qmp_forget(keeper->machine.qmp, id);
    }
    if (r == 0)
        r = qmp_receive(keeper->machine.qmp, id, clock_monotonic_usec() + QMP_TIMEOUT_USEC, NULL,
                        error);
    machine_take_events(keeper);
    return r;
}

static int read_request(const json_t *request, Plan *plan, Error *error) {
    const char *name = NULL;
    bool remove = plan->remove_on_exit, has_keys = plan->identity.new_ssh_keys;
    int r = json_opt_string("claim", request, "name", &name, error);
    if (r == 0)
        r = json_opt_bool("claim", request, "remove_on_exit", &remove, error);
    if (r == 0)
        r = plan_forwards_from_json(request, plan, error);
    if (r == 0)
        r = plan_identity_from_json(json_object_get(request, "identity"), &plan->identity, error);
    if (r < 0)
        return r;
    if (name)
        (void)snprintf(plan->name, sizeof plan->name, "%s", name);
    plan->remove_on_exit = remove;
    plan->identity.new_ssh_keys &= !has_keys; /* they are its own since it was made warm */
    return 0;
}

static void begin(Keeper *keeper, Connection *connection) {
    Error error = ERROR_INIT;
    request_wait_for_start(connection);
    keeper->start.connection = connection;
    keeper->start.answered_at_usec = 0;
    keeper->state = KEEPER_STARTING;
    keeper->boot = "claimed";
    keeper->plan.start_paused = false;
    start_stage(keeper, "claim");
    start_set_timers(keeper);
    int r = add_forwards(keeper, &error);
    if (r == 0)
        r = go_on(keeper, &error);
    if (r == 0)
        start_stage(keeper, "agent");
    else
        start_fail(keeper, &error);
}

int claim_begin(Keeper *keeper, Connection *connection, const json_t *request, Error *error) {
    if (keeper->state != KEEPER_WARM)
        return error_set(error, ERROR_CONFLICT, 0, "the VM is %s, not warm",
                         keeper_state_name(keeper));
    int r = read_request(request, &keeper->plan, error);
    if (r == 0)
        begin(keeper, connection);
    return r;
}
