/* SPDX-License-Identifier: Apache-2.0 */

#include "network/capture.h"

#include "base/fd.h"
#include "base/str.h"
#include "home/op_lock.h"
#include "network/bridge/bridge_names.h"
#include "network/bridge/packets.h"
#include "network/describe_switch.h"
#include "network/network_lock.h"
#include "network/revive.h"
#include "network/vm_ports.h"
#include "proto/switch_client.h"
#include "store/networks.h"

static int find(Home *home, const char *name, const VmRow *vm, size_t card, CaptureTarget *target,
                Error *error) {
    _cleanup_network_row_ NetworkRow network = {0};
    _cleanup_op_lock_ OpLock *lock = NULL;
    *target = (CaptureTarget)CAPTURE_TARGET_INIT;
    int r = network_lock(home, name, &lock, &network, error);
    if (r >= 0 && network_is_bridge(&network))
        r = bridge_open_packets(home, &network, vm, card, &target->packet_fd, error);
    if (r >= 0)
        r = network_open_switch(home, &network, &target->switch_fd, error);
    if (r < 0)
        network_capture_close(target);
    return r;
}

int network_capture_find(Home *home, const char *name, CaptureTarget *target, Error *error) {
    return find(home, name, NULL, 0, target, error);
}

int network_capture_find_card(Home *home, const VmRow *vm, size_t card, CaptureTarget *target,
                              Error *error) {
    int r = network_require_port(vm, card, error);
    if (r >= 0)
        r = find(home, vm->spec.cards.items[card].network, vm, card, target, error);
    if (r >= 0)
        switch_port_id(vm, card, target->id);
    return r;
}

int network_capture_begin(const CaptureTarget *target, int output_fd, Error *error) {
    uint64_t capture;
    int r = switch_client_capture(target->switch_fd, *target->id ? target->id : NULL, output_fd,
                                  &capture, error);
    if (r < 0 || target->packet_fd < 0)
        return r;
    r = switch_client_capture_from(target->switch_fd, capture, target->packet_fd, error);
    if (r < 0)
        (void)switch_client_end_capture(target->switch_fd, capture, NULL, NULL, NULL);
    return r;
}

void network_capture_close(CaptureTarget *target) {
    target->switch_fd = fd_close(target->switch_fd);
    target->packet_fd = fd_close(target->packet_fd);
}
