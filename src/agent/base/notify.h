/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_BASE_NOTIFY_H
#define RAMET_AGENT_BASE_NOTIFY_H

/* The VM is itself: tells systemd, whose SSH servers wait for it, once in a boot. Under another
 * init it does nothing. */
void notify_ready(void);

/* The same, when it was itself before this agent started. */
void notify_ready_again(void);

#endif
