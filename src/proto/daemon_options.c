/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/daemon_options.h"

const DaemonWord daemon_options[DAEMON_OPTION_COUNT] = {
    [DAEMON_HOME] = {"home", "FOLDER",
                     "where everything is kept (default: $RAMET_HOME, /var/lib/ramet for root, "
                     "~/.local/share/ramet)"},
    [DAEMON_SOCKET] = {"socket", "PATH",
                       "the API's socket (default: $RAMET_SOCKET, ramet.sock in $RAMET_HOME, "
                       "/run/ramet/ramet.sock for root, $XDG_RUNTIME_DIR/ramet/ramet.sock)"},
    [DAEMON_READY_FD] = {"ready-fd", "N",
                         "write a byte to this descriptor once clients can connect"},
    [DAEMON_VERSION] = {"version", NULL, "print the version"},
    [DAEMON_HELP] = {"help", NULL, "print a short help"},
};

const DaemonWord daemon_variables[] = {
    {"RAMET_HOME", NULL, "as --home"},
    {"RAMET_SOCKET", NULL, "as --socket"},
    {"RAMET_QEMU", NULL, "another QEMU binary"},
    {"RAMET_ACCEL", NULL, "auto (default), kvm or tcg"},
    {"RAMET_LOG", NULL, "error, warning, info (default) or debug: what is logged"},
    {"RAMET_UID_RANGE", NULL,
     "FIRST:COUNT: the users that VMs run as when the daemon is root (600000000:65536)"},
    {"RAMET_HOT_MEMORY", NULL,
     "a SIZE: what memory of snapshots that clones share may take (a quarter of the host's)"},
    {"RAMET_POOL_MEMORY", NULL,
     "a SIZE: what warm clones of pools may take (a quarter of the host's memory)"},
    {"RAMET_READY_TIMEOUT_S", NULL, "seconds that a whole boot may take (900)"},
    {"RAMET_SILENCE_TIMEOUT_S", NULL,
     "a guest whose console says nothing for so many seconds while it boots is stuck (240)"},
    {"RAMET_BOOT_CACHE", NULL,
     "on (default) or off: an image is booted once, and first starts are forked from that"},
    {"RAMET_ADOPT", NULL,
     "on (default) or off: after a snapshot its VM maps the snapshot's memory, too"},
    {"RAMET_CGROUP", NULL,
     "folder of cgroup v2 below which limits of VMs are kept; found out when absent"},
    {"RAMET_ZYGOTE", NULL, "on (default) or off: QEMUs are forked off one that is linked"},
    {.name = NULL},
};
