/* SPDX-License-Identifier: Apache-2.0 */

#include "bench/net/switch_rig.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/process/spawn.h"
#include "base/str.h"

#define LISTEN_FD 3

static int start_switch(SwitchRig *rig, Error *error) {
    _cleanup_free_ char *program = path_find_sibling("ramet-switch");
    char path[] = "/tmp/ramet-bench-XXXXXX", name[sizeof(path) + 16];
    char option[] = "--listen-fd", number[] = "3", *argv[] = {program, option, number, NULL};
    if (!program || !mkdtemp(path))
        return error_set(error, ERROR_NOT_FOUND, ENOENT,
                         "cannot find ramet-switch, or make a folder");
    (void)snprintf(name, sizeof(name), "%s/socket", path);
    _cleanup_close_ int listening = fd_unix_listen(name, SOCK_SEQPACKET, 0600, 4);
    SpawnFd fds[] = {{listening, LISTEN_FD}, {STDERR_FILENO, STDERR_FILENO}};
    SpawnOptions options = {.program = program,
                            .argv = argv,
                            .fds = fds,
                            .n_fds = ARRAY_SIZE(fds),
                            .die_with_parent = true};
    int r = listening < 0 ? error_set_errno(error, -listening, "cannot listen on %s", name)
                          : spawn_process(&options, &rig->pid, error);
    if (r >= 0)
        r = switch_client_connect(name, &rig->control, error);
    (void)unlink(name);
    (void)rmdir(path);
    return r;
}

int switch_rig_set_network(const SwitchRig *rig, bool uplink, Error *error) {
    SwitchNetwork network = {.name = "bench",
                             .subnet = {10, 7, 0, 0},
                             .prefix = 16,
                             .gateway = {10, 7, 0, 1},
                             .gateway_mac = {0x52, 0x54, 0, 0, 0, 1},
                             .uplink = uplink};
    return switch_client_set_network(rig->control, &network, error);
}

void switch_rig_mac(size_t number, uint8_t mac[6]) {
    const uint8_t made[6] = {0x52, 0x54, 0, 1, (uint8_t)((number + 2) >> 8), (uint8_t)(number + 2)};
    memcpy(mac, made, sizeof(made));
}

void switch_rig_port_id(size_t number, char id[SWITCH_ID_SIZE]) {
    (void)snprintf(id, SWITCH_ID_SIZE, "vm%zu/0", number);
}

int switch_rig_add_port(SwitchRig *rig, Error *error) {
    size_t number = rig->n_ends;
    SwitchPort port = {.ip = {10, 7, (uint8_t)((number + 2) >> 8), (uint8_t)(number + 2)}};
    int pair[2];
    switch_rig_port_id(number, port.id);
    (void)snprintf(port.name, sizeof(port.name), "vm%zu", number);
    switch_rig_mac(number, port.mac);
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return error_set_errno(error, errno, "cannot make a socket pair");
    int r = switch_client_set_port(rig->control, &port, NULL, NULL, pair[1], error);
    (void)fd_close(pair[1]);
    if (r < 0) {
        (void)fd_close(pair[0]);
        return r;
    }
    rig->ends[rig->n_ends++] = pair[0];
    return 0;
}

void switch_rig_free(SwitchRig *rig) {
    for (size_t i = 0; i < rig->n_ends; i++)
        (void)fd_close(rig->ends[i]);
    (void)fd_close(rig->control);
    if (rig->pid > 0) {
        (void)kill(rig->pid, SIGKILL);
        spawn_reap(rig->pid, NULL);
    }
}

int switch_rig_init(SwitchRig *rig, Error *error) {
    *rig = (SwitchRig){.control = -1};
    int r = start_switch(rig, error);
    return r < 0 ? r : switch_rig_set_network(rig, false, error);
}
