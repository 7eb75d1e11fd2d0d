/* SPDX-License-Identifier: Apache-2.0 */
#include "network/bridge/packets.h"

/* A bridge that is promiscuous hands up each frame that it passes on. */

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netpacket/packet.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "network/bridge/bridge_inside.h"

#define BUFFER_BYTES (4 * MIB) /* while the switch does something else */

static unsigned find_card(Bridges *bridges, const VmRow *vm, size_t card) {
    char use[BRIDGE_USE_SIZE];
    bridge_card_use(vm->id, card, use);
    (void)pthread_mutex_lock(&bridges->mutex);
    const Tap *tap = taps_find(&bridges->taps, use);
    unsigned index = tap ? tap->index : 0;
    (void)pthread_mutex_unlock(&bridges->mutex);
    return index;
}

static unsigned find_bridge(const NetworkRow *network) {
    char device[IFNAMSIZ];
    bridge_device_name(network->id, device);
    return if_nametoindex(device);
}

/* Of no protocol until it is the device's. */
static int open_at(unsigned index, bool promiscuous) {
    const int room = BUFFER_BYTES;
    const struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)index};
    const struct packet_mreq all = {.mr_ifindex = (int)index, .mr_type = PACKET_MR_PROMISC};
    _cleanup_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    if (promiscuous && setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) < 0)
        return -errno;
    return TAKE_FD(fd);
}

int bridge_open_packets(Home *home, const NetworkRow *network, const VmRow *vm, size_t card,
                        int *fd, Error *error) {
    unsigned index = vm ? find_card(home->bridges, vm, card) : find_bridge(network);
    if (index == 0)
        return error_set(error, ERROR_NOT_FOUND, ENODEV, "network %s has no such device now",
                         network->name);
    int made = open_at(index, !vm);
    if (made < 0)
        return error_set_errno(error, -made, "cannot listen to what passes network %s",
                               network->name);
    *fd = made;
    return 0;
}
