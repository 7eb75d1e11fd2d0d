/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VERBS_DOCTOR_H
#define RAMET_VERBS_DOCTOR_H

/* `ramet doctor`: what this host offers, why it matters, and how to mend what lacks. A check that
 * cannot be made is itself an error in the report; the examination as a whole never fails. */

#include "base/json.h"
#include "verbs/doctor_checks.h"

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

/* One check: its name, why it matters, and what makes it. */
typedef struct DoctorItem {
    const char *name;
    const char *why;
    void (*run)(const DoctorInput *input, DoctorCheck *check);
} DoctorItem;

#endif
