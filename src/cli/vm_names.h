/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_VM_NAMES_H
#define RAMET_CLI_VM_NAMES_H

#include "cli/args.h"

/* What the shell did not: of operands of ARG_VM_PATTERN, 'ci-*' becomes the names of the VMs that
 * it fits. *expanded: the same call with those as operands, as long as `names`, which owns them,
 * is there. -ENOENT when one fits none. */
int vm_names_expand(const Args *args, StrList *names, Args *expanded, Error *error);

#endif
