/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_LAUNCH_SSH_H
#define RAMET_RUN_LAUNCH_SSH_H

/* Who may log in to a VM by SSH, and the key by which it is known. */

#include "home/home.h"
#include "proto/plan.h"
#include "run/restore.h"
#include "store/vms.h"

/* Fills what of the identity is about SSH. restore: NULL for a cold boot. */
void launch_plan_ssh(const Home *home, VmRow *row, const Restore *restore, PlanIdentity *identity);

/* The VM is ready. took_key: its guest has the host key that it was given. */
void launch_note_ssh(VmRow *row, const PlanIdentity *identity, bool took_key);

#endif
