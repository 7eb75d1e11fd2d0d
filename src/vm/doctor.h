/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VM_DOCTOR_H
#define RAMET_VM_DOCTOR_H

/* `ramet doctor`: what this host offers, why it matters, and how to mend what lacks. A check that
 * cannot be made is itself an error in the report; the examination as a whole never fails. */

#include "base/json.h"
#include "base/str.h"

typedef enum DoctorStatus {
    DOCTOR_OK,
    DOCTOR_INFO,    /* fine, and good to know */
    DOCTOR_WARNING, /* works, but slower or with less */
    DOCTOR_ERROR,   /* something will fail */
} DoctorStatus;

typedef struct DoctorCheck {
    const char *name; /* static */
    DoctorStatus status;
    char *found;     /* owned: what is there */
    const char *why; /* static: why it matters */
    char *mend;      /* owned: what to do; NULL when there is nothing to */
} DoctorCheck;

typedef struct DoctorInput {
    const char *home;             /* borrowed: the folder, which exists */
    const char *qemu;             /* borrowed: as in qemu_find_binary */
    const char *accel;            /* borrowed: the wish, as in accel_choose */
    char *const *accel_helper;    /* borrowed: as in accel_probe */
    const char *zygote_library;   /* borrowed: as in zygote_new; NULL: turned off, or not there */
    const StrList *stray_folders; /* borrowed, may be NULL: folders of vms/ that belong to no VM */
    const StrList *stray_vms; /* borrowed, may be NULL: VMs that should run and have no keeper */
    bool daemon_runs;         /* then what lies in tmp/ may be in use */
} DoctorInput;

#define DOCTOR_CHECKS_MAX 16

typedef struct DoctorReport {
    size_t count;
    DoctorCheck checks[DOCTOR_CHECKS_MAX];
} DoctorReport;

/* Makes all checks: some hundred milliseconds, most of it in QEMU and the accelerator's probe. The
 * caller owns the report. */
void doctor_run(const DoctorInput *input, DoctorReport **report);
DoctorReport *doctor_report_free(DoctorReport *report);
static inline void doctor_report_free_p(DoctorReport **report) {
    (void)doctor_report_free(*report);
}

/* The worst status of all checks; the name of a status. */
DoctorStatus doctor_report_worst(const DoctorReport *report);
const char *doctor_status_name(DoctorStatus status);

/* {"checks":[{"name","status","found","why","mend"}]}; mend is null when there is nothing to do. */
json_t *doctor_report_to_json(const DoctorReport *report);

/* For the checks themselves: found and mend are the caller's to give away; mend may be NULL. */
void doctor_check_set(DoctorCheck *check, DoctorStatus status, char *found, char *mend);

/* One check: its name, why it matters, and what makes it. */
typedef struct DoctorItem {
    const char *name;
    const char *why;
    void (*run)(const DoctorInput *input, DoctorCheck *check);
} DoctorItem;

#endif
