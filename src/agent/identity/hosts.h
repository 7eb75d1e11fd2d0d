/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_IDENTITY_HOSTS_H
#define RAMET_AGENT_IDENTITY_HOSTS_H

/* /etc/hosts knows the guest's own name, so that `hostname -f` does, too. Only where the agent is
 * the guest's init: where another one is, the image brings a resolver that knows it
 * (nss-myhostname), and the file stays its users'. */

/* Before a snapshot: makes that a clone changes it by writing to memory. */
void hosts_prepare(void);

/* Covers the file with its own lines and one for the name. 0, also where that is not ours to do, or
 * a negative errno. */
int hosts_set(const char *hostname);

#endif
