/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_AGENT_UNIT_H
#define RAMET_PROTO_AGENT_UNIT_H

/* The agent's unit under systemd, whoever brings it into the guest.
 *
 * It has started when the VM is itself: until then no SSH server does, which would take the image's
 * keys. Commands run in the unit, so whatever systemd would do to the whole of it does harm: by
 * itself it ends a unit of which the kernel killed one process for want of memory. */
#define AGENT_UNIT                                                                          \
    "[Unit]\n"                                                                              \
    "Description=Ramet guest agent\n"                                                       \
    "DefaultDependencies=no\n"                                                              \
    "IgnoreOnIsolate=yes\n"                                                                 \
    "RefuseManualStop=yes\n"                                                                \
    "StartLimitIntervalSec=0\n"                                                             \
    "Before=ramet-ssh-keys.service sshd-keygen.target ssh.service sshd.service ssh.socket " \
    "sshd.socket dropbear.service\n"                                                        \
    "[Service]\n"                                                                           \
    "Type=notify\n"                                                                         \
    "TimeoutStartSec=infinity\n"                                                            \
    "ExecStart=/run/ramet/agent\n"                                                          \
    "Restart=always\n"                                                                      \
    "KillMode=process\n"                                                                    \
    "OOMPolicy=continue\n"                                                                  \
    "ManagedOOMPreference=omit\n"                                                           \
    "OOMScoreAdjust=-900\n"                                                                 \
    "MemoryMax=infinity\n"                                                                  \
    "MemoryHigh=infinity\n"                                                                 \
    "TasksMax=infinity\n"

#endif
