/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_COMPLETE_H
#define RAMET_CLI_COMPLETE_H

/* `ramet --complete vms|running|images|snapshots|fork-sources|pool-sources`: names for the shells'
 * completions, one a line. Asks a daemon that runs; silent when none does. Returns the exit status.
 */
int complete_print(const char *what);

#endif
