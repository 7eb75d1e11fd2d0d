/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_UEFI_VARIABLES_H
#define RAMET_FROZEN_UEFI_VARIABLES_H

/* The variables of a VM that UEFI boots: a file of its own in its folder, which its snapshots keep
 * a copy of. */

#include "home/home.h"

#define UEFI_VARIABLES "/usr/share/OVMF/OVMF_VARS_4M.fd"
#define UEFI_VARIABLES_FILE "uefi-variables.fd" /* in the folder of a VM or snapshot */
#define UEFI_VARIABLES_MAX (4 * MIB)

/* Opens the VM's own for reading and writing; dir_fd: its folder. When it has none yet they are
 * those of the snapshot ("": none) that it grows from, else as the firmware comes. */
int uefi_variables_open(const Home *home, int dir_fd, const char *snapshot, int *fd, Error *error);

/* A copy in memory, of the moment at which a VM stands still; no data: it has none. */
typedef struct UefiVariables {
    char *data; /* owned */
    size_t size;
} UefiVariables;

/* Those of a VM; a copy that is there already stays. */
int uefi_variables_read(const Home *home, const char *vm, UefiVariables *variables, Error *error);
void uefi_variables_free(UefiVariables *variables);

/* The snapshot's folder gets them. Nothing to do without. */
int uefi_variables_freeze(const Home *home, const UefiVariables *variables, const char *snapshot,
                          Error *error);

#endif
