/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LAB_LAB_PLAN_H
#define RAMET_LAB_LAB_PLAN_H

/* What a client describes as a lab, checked, with the names that its things will have. */

#include "base/error.h"
#include "base/json.h"
#include "base/path.h"
#include "network/network.h"
#include "store/vm_spec.h"

#define LAB_VMS_MAX 256
#define LAB_NETWORKS_MAX 64
#define LAB_READY_SECONDS 120 /* how long `ready` is tried by default */

typedef struct LabNetworkPlan {
    char name[NAME_SIZE];   /* "LAB/NAME" */
    NetworkOptions options; /* its texts are the plan's and the description's; lab is not set */
} LabNetworkPlan;

typedef struct LabVmPlan {
    VmSpec spec;     /* owned: its name and its networks' are "LAB/NAME" */
    const char *run; /* borrowed from the description; NULL: nothing */
} LabVmPlan;

typedef struct LabPlan {
    size_t n_networks, n_vms;
    LabNetworkPlan *networks; /* owned */
    LabVmPlan *vms;           /* owned; first those that ask for an address */
    size_t n_asking;          /* so many do */
} LabPlan;

/* A name that a lab may have: not a word that `ramet lab snapshot` takes for one of its own.
 * ERROR_USAGE. */
int lab_name_check(const char *name, Error *error);

/* The description must outlive the plan, and have the types of the API's table. lab: its name.
 * ERROR_USAGE: what cannot be, "VM web: …". */
int lab_plan_make(const char *lab, const json_t *description, LabPlan *plan, Error *error);
void lab_plan_free(LabPlan *plan);

#endif
