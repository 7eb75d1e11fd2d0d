/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_BOOT_INIT_H
#define RAMET_AGENT_BOOT_INIT_H

/* The early part of PID 1, from the kernel's start of /init in the initramfs to a machine that can
 * serve. Returns in the process that is to be the agent: PID 1 itself when the image has no init of
 * its own, else (with *is_init false) a child beside that init. Does not return under systemd,
 * which starts the agent by a unit, nor when it fails: then the keeper is told why and the machine
 * powered off. */
void init_run(char **argv, int *channel_fd);

#endif
