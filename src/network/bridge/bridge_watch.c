/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/bridge_watch.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "base/fd.h"
#include "base/str.h"
#include "network/bridge/link_message.h"

struct BridgeWatch {
    char table[16];
    void (*gone)(void *data);
    void *data;
    int stop_fd;                       /* owned eventfd */
    struct mnl_socket *links, *tables; /* owned */
    pthread_t thread;
};

static bool is_table(const struct nlmsghdr *message, const char *table) {
    const struct nlattr *attribute;
    if (message->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE))
        return false;
    mnl_attr_for_each(
        attribute, message,
        sizeof(struct nfgenmsg)) if (mnl_attr_get_type(attribute) ==
                                     NFTA_TABLE_NAME) return str_equal(mnl_attr_get_str(attribute),
                                                                       table);
    return false;
}

static bool tells_of_end(const struct nlmsghdr *message, const char *table) {
    Link link;
    if (message->nlmsg_type == RTM_DELLINK)
        return link_message_read(message, &link) &&
               (str_has_prefix(link.name, "ramet") || str_has_prefix(link.name, "ri"));
    return is_table(message, table);
}

/* What did not fit into the socket may have been anything. */
static void receive(BridgeWatch *watch, struct mnl_socket *socket) {
    char buffer[32768];
    bool gone = false;
    ssize_t n = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));
    if (n < 0) {
        gone = errno == ENOBUFS;
    } else {
        int left = (int)n;
        for (const struct nlmsghdr *message = (const void *)buffer; mnl_nlmsg_ok(message, left);
             message = mnl_nlmsg_next(message, &left))
            gone = gone || tells_of_end(message, watch->table);
    }
    if (gone)
        watch->gone(watch->data);
}

static void *watch_thread(void *data) {
    BridgeWatch *watch = data;
    struct pollfd fds[] = {{.fd = watch->stop_fd, .events = POLLIN},
                           {.fd = mnl_socket_get_fd(watch->links), .events = POLLIN},
                           {.fd = mnl_socket_get_fd(watch->tables), .events = POLLIN}};
    for (;;) {
        if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
            continue;
        if (fds[0].revents)
            return NULL;
        if (fds[1].revents)
            receive(watch, watch->links);
        if (fds[2].revents)
            receive(watch, watch->tables);
    }
}

static struct mnl_socket *listen_to(int family, unsigned group) {
    struct mnl_socket *socket = mnl_socket_open2(family, SOCK_CLOEXEC);
    if (socket && mnl_socket_bind(socket, 1U << (group - 1), MNL_SOCKET_AUTOPID) == 0)
        return socket;
    if (socket)
        (void)mnl_socket_close(socket);
    return NULL;
}

static void watch_free(BridgeWatch *watch) {
    if (watch->links)
        (void)mnl_socket_close(watch->links);
    if (watch->tables)
        (void)mnl_socket_close(watch->tables);
    (void)fd_close(watch->stop_fd);
    free(watch);
}

int bridge_watch_start(const char *table, void (*gone)(void *data), void *data, BridgeWatch **watch,
                       Error *error) {
    BridgeWatch *made = calloc(1, sizeof(*made));
    if (!made)
        abort();
    *made = (BridgeWatch){.gone = gone,
                          .data = data,
                          .stop_fd = eventfd(0, EFD_CLOEXEC),
                          .links = listen_to(NETLINK_ROUTE, RTNLGRP_LINK),
                          .tables = listen_to(NETLINK_NETFILTER, NFNLGRP_NFTABLES)};
    str_set(made->table, table);
    int r = made->stop_fd < 0 || !made->links || !made->tables ? -errno : 0;
    if (r == 0)
        r = -pthread_create(&made->thread, NULL, watch_thread, made);
    if (r < 0) {
        watch_free(made);
        return error_set_errno(error, -r, "cannot watch the host's network devices");
    }
    *watch = made;
    return 0;
}

void bridge_watch_stop(BridgeWatch *watch) {
    if (!watch)
        return;
    (void)eventfd_write(watch->stop_fd, 1);
    (void)pthread_join(watch->thread, NULL);
    watch_free(watch);
}
