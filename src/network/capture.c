/* SPDX-License-Identifier: Apache-2.0 */

#include "network/capture.h"

#include <errno.h>
#include <net/if.h>

#include "base/fd.h"
#include "base/str.h"
#include "home/op_lock.h"
#include "network/bridge/bridge_names.h"
#include "network/describe_switch.h"
#include "network/network_lock.h"
#include "network/revive.h"
#include "network/vm_ports.h"
#include "proto/switch_client.h"
#include "store/networks.h"

static int refuse_bridge(const NetworkRow *network, Error *error) {
    char device[IFNAMSIZ];
    bridge_device_name(network->id, device);
    error_set(error, ERROR_UNSUPPORTED, ENOTSUP,
              "network %s is over a bridge, and only a switch captures", network->name);
    error_set_hint(error, "capture its device in the host: tcpdump -i %s", device);
    return -ENOTSUP;
}

int network_capture_find(Home *home, const char *name, CaptureTarget *target, Error *error) {
    _cleanup_network_row_ NetworkRow network = {0};
    _cleanup_op_lock_ OpLock *lock = NULL;
    *target = (CaptureTarget){.switch_fd = -1};
    int r = network_lock(home, name, &lock, &network, error);
    if (r >= 0 && network_is_bridge(&network))
        r = refuse_bridge(&network, error);
    return r < 0 ? r : network_open_switch(home, &network, &target->switch_fd, error);
}

int network_capture_find_card(Home *home, const VmRow *vm, size_t card, CaptureTarget *target,
                              Error *error) {
    const char *name = card < vm->spec.cards.count ? vm->spec.cards.items[card].network : "none";
    int r = network_require_port(vm, card, error);
    if (r >= 0)
        r = network_capture_find(home, name, target, error);
    if (r >= 0)
        switch_port_id(vm, card, target->id);
    return r;
}

int network_capture_begin(const CaptureTarget *target, int output_fd, Error *error) {
    uint64_t capture;
    return switch_client_capture(target->switch_fd, *target->id ? target->id : NULL, output_fd,
                                 &capture, error);
}

void network_capture_close(CaptureTarget *target) {
    target->switch_fd = fd_close(target->switch_fd);
}
