/* SPDX-License-Identifier: Apache-2.0 */
#include "network/bridge/knock.h"

/* A device of its own on the bridge gets what is sent to all, and to whom the bridge does not know:
 * of that, questions for the guest's address and packets to it. It also keeps the bridge's link up,
 * without which the host would not even ask.
 *
 * A SYN for which the guest is still unknown waits in the neighbour table of who sent it, and is
 * delivered when the guest answers; the host asks once a second, and `host_wait_for_guests` has it
 * not give up too soon. One that went to a guest that is still known is lost, and sent again after
 * a second. Questions to one address that is known (unicast) do not count: nobody waits for them.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "network/bridge/bridge_inside.h"
#include "network/bridge/host_forwarding.h"
#include "network/bridge/link.h"
#include "network/bridge/tap_pool.h"

#define AT_DESTINATION 0
#define AT_TYPE 12
#define AT_ARP_OPERATION 20
#define AT_IP_DESTINATION 30
#define AT_ARP_TARGET 38

static int filter(int fd, uint32_t ip) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, AT_TYPE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_IP, 7, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_ARP, 0, 9),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, AT_ARP_OPERATION),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1 /* request */, 0, 7),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, AT_DESTINATION),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xff, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_ARP_TARGET),
        BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_IP_DESTINATION),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ip, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT16_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    const struct sock_fprog program = {.len = sizeof(code) / sizeof(*code), .filter = code};
    return ioctl(fd, TUNATTACHFILTER, &program) < 0 ? -errno : 0;
}

/* Nothing comes before it has its filter. */
int bridge_knock_open(Home *home, const NetworkRow *network, const VmAddress *address, int *fd,
                      Error *error) {
    Tap tap = {.fd = -1};
    char device[IFNAMSIZ];
    struct in_addr ip;
    if (inet_pton(AF_INET, address->ip, &ip) != 1)
        return error_set(error, ERROR_FAILED, EINVAL, "it has no address");
    int r = tap_make(home->bridges, network, "pool", &tap, error);
    if (r < 0)
        return r;
    _cleanup_close_ int made = tap.fd;
    r = filter(made, ntohl(ip.s_addr));
    if (r >= 0)
        r = link_change(tap.index, &(LinkChange){.up = true});
    if (r < 0)
        return error_set_errno(error, -r, "cannot listen on network %s", network->name);
    bridge_device_name(network->id, device);
    host_wait_for_guests(device);
    *fd = TAKE_FD(made);
    return 0;
}
