/* SPDX-License-Identifier: Apache-2.0 */

#include "network/plug.h"

#include "base/fd.h"
#include "base/log.h"
#include "network/bridge/bridge_names.h"
#include "network/describe_switch.h"
#include "network/doors.h"
#include "network/low_port.h"
#include "proto/switch_client.h"

int plug_add_forward(int fd, const SwitchForward *forward, Error *error) {
    int door = door_take(forward);
    _cleanup_close_ int socket_fd = door >= 0 ? door : low_port_open(forward);
    return switch_client_add_forward(fd, forward, socket_fd, error);
}

static int add_forwards(int fd, const VmRow *vm, size_t card, Error *error) {
    int r = 0;
    if (vm_spec_forward_card(&vm->spec) != &vm->spec.cards.items[card])
        return 0;
    if (vm->runtime.timers.dozing) /* network_open_doors, once it can answer */
        return 0;
    for (size_t i = 0; r >= 0 && i < vm->spec.forwards.count; i++) {
        SwitchForward forward;
        switch_describe_forward(vm, card, &vm->spec.forwards.items[i], &forward);
        door_open(vm, &forward);
        r = plug_add_forward(fd, &forward, error);
    }
    return r;
}

/* A port that the switch knew takes these by themselves alone, as does any port of a switch of an
 * earlier version. */
static int shape_port(int fd, const VmRow *vm, const char *id, const SwitchImpair *impair,
                      const SwitchLimit *limit, Error *error) {
    int r = 0;
    if (!impairment_is_none(&vm->runtime.impair))
        r = switch_client_impair(fd, id, impair, error);
    if (r >= 0 && !net_limit_is_none(&vm->spec.net_limit))
        r = switch_client_limit(fd, id, limit, error);
    return r;
}

/* What is there of it already is set anew. */
int plug_set_port(int fd, const NetworkRow *network, const VmRow *vm, size_t card, int port_fd,
                  Error *error) {
    SwitchPort port;
    SwitchImpair impair;
    SwitchLimit limit;
    int r;
    switch_describe_port(vm, card, &port);
    if (network_is_bridge(network)) /* the host's kernel shapes */
        return switch_client_set_port(fd, &port, NULL, NULL, port_fd, error);
    switch_describe_impair(&vm->runtime.impair, false, &impair);
    switch_describe_limit(&vm->spec.net_limit, &limit);
    r = switch_client_set_port(fd, &port, &impair, &limit, port_fd, error);
    if (r >= 0)
        r = shape_port(fd, vm, port.id, &impair, &limit, error);
    return r < 0 ? r : add_forwards(fd, vm, card, error);
}

void plug_remove_port(int fd, const VmRow *vm, size_t card) {
    char id[SWITCH_ID_SIZE];
    _cleanup_error_ Error error = ERROR_INIT;
    switch_port_id(vm, card, id);
    if (switch_client_remove_port(fd, id, &error) < 0 && error.kind != ERROR_NOT_FOUND)
        log_warning("cannot unplug %s: %s", vm->name, error_message(&error));
}

int plug_impair_network(int fd, const NetworkRow *network, Error *error) {
    SwitchImpair told;
    switch_describe_impair(&network->data.impair, true, &told);
    return switch_client_impair(fd, NULL, &told, error);
}
