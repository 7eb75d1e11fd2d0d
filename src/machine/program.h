/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_PROGRAM_H
#define RAMET_MACHINE_PROGRAM_H

/* The program of a VM whose image is a container's: entrypoint and command, run in each start by
 * the agent, with the console as its output unless a client has it on its stream. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "store/images.h"
#include "store/vms.h"

/* Puts into a new VM's specification what its image says and the specification leaves open: who
 * asks for a command keeps the image's entrypoint, who asks for an entrypoint loses its command. */
void program_resolve(const ImageRow *image, VmSpec *spec);

/* Ports that the image serves and nothing leads to yet: any free ports of the host. */
void program_publish(VmSpec *spec);

/* Does it run already in a VM that has just started, since what that came from had it? */
bool program_runs(const VmRow *row);

/* Starts it in a VM whose keeper says that it runs, whatever the row says. */
int program_start_anew(Home *home, const VmRow *row, Error *error);

/* Starts it in a VM that has just started; one that goes on where it was has it already. Nothing to
 * do is success. */
int program_start(Home *home, const VmRow *row, Error *error);

/* The same by what the VM is as JSON. */
int program_start_in(Home *home, const json_t *vm, Error *error);

/* What a client's stream runs: the request's own command, or the program, whose words are put into
 * the request. ERROR_USAGE when there is neither. */
int program_attach(Home *home, const json_t *vm, json_t *exec, Error *error);

#endif
