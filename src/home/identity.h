/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_IDENTITY_H
#define RAMET_HOME_IDENTITY_H

/* Identity.c */
char *identity_hostname(const char *name, const char *id); /* a valid host name from a VM's name */
void identity_mac(char mac[18]);
char *identity_name(void); /* "vm-3f9a1c" */

#endif
