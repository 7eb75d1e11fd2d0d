/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/tasks/forward.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

/* HMP has no error replies: what it says is the error. *said: that, the caller's; NULL: nothing. */
static int ask_hmp(Vm *vm, const char *line, char **said, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    int r = machine_call(&vm->machine, "human-monitor-command",
                         json_pack("{s:s}", "command-line", line), &answer, error);
    const char *text = json_string_value(answer);
    if (r >= 0)
        *said = text && *text ? str_sanitize(text, strcspn(text, "\r\n")) : NULL;
    return r;
}

static int add(Vm *vm, const char *netdev, const PortForward *forward, Error *error) {
    _cleanup_free_ char *line = str_format("hostfwd_add %s %s:%s:%u-" QEMU_USER_GUEST ":%u", netdev,
                                           forward->udp ? "udp" : "tcp", forward->host_ip,
                                           forward->host_port, forward->guest_port);
    _cleanup_free_ char *said = NULL;
    int r = ask_hmp(vm, line, &said, error);
    if (r < 0 || !said)
        return r;
    return error_set(error, ERROR_CONFLICT, EADDRINUSE, "cannot forward %s port %u: %s",
                     forward->host_ip, forward->host_port, said);
}

/* It says "host forwarding rule for … removed" when there was one. */
static int drop(Vm *vm, const char *netdev, const PortForward *forward, Error *error) {
    _cleanup_free_ char *line =
        str_format("hostfwd_remove %s %s:%s:%u", netdev, forward->udp ? "udp" : "tcp",
                   forward->host_ip, forward->host_port);
    _cleanup_free_ char *said = NULL;
    int r = ask_hmp(vm, line, &said, error);
    if (r < 0 || (said && strstr(said, "removed")))
        return r;
    return error_set(error, ERROR_NOT_FOUND, ENOENT, "%s port %u is not forwarded",
                     forward->host_ip, forward->host_port);
}

/* False: no card has the user-mode network. */
static bool find_netdev(const Vm *vm, char netdev[QEMU_NETDEV_NAME_SIZE]) {
    const Plan *plan = &vm->plan;
    size_t card = 0;
    while (card < plan->n_cards &&
           (plan->cards[card].network != PLAN_NETWORK_USER || plan->cards[card].unplugged))
        card++;
    qemu_netdev(card, netdev);
    return card < plan->n_cards;
}

int forward_add_all(Vm *vm, Error *error) {
    const PortForwards *forwards = &vm->plan.cards[0].forwards;
    char netdev[QEMU_NETDEV_NAME_SIZE];
    int r = 0;
    if (!find_netdev(vm, netdev))
        return 0;
    for (size_t i = 0; r == 0 && i < forwards->count; i++)
        r = add(vm, netdev, &forwards->items[i], error);
    return r;
}

int forward_change(Vm *vm, const json_t *request, Error *error) {
    _cleanup_json_ json_t *list =
        json_pack("{s:[O]}", "forwards", json_object_get(request, "forward"));
    PortForwards forwards = {.count = 0};
    char netdev[QEMU_NETDEV_NAME_SIZE];
    bool remove = false;
    int r = plan_forwards_from_json(list, &forwards, error);
    if (r == 0)
        r = json_opt_bool("forward", request, "remove", &remove, error);
    if (r == 0)
        r = vm_require_up(vm, error);
    if (r < 0)
        return r;
    if (forwards.count != 1 || !find_netdev(vm, netdev))
        return error_set(error, ERROR_CONFLICT, EINVAL, "the VM has no user-mode network");
    return remove ? drop(vm, netdev, &forwards.items[0], error)
                  : add(vm, netdev, &forwards.items[0], error);
}
