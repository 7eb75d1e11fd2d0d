/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VERBS_DOCTOR_CHECKS_H
#define RAMET_VERBS_DOCTOR_CHECKS_H

/* The checks of doctor.c that look at the home and the host's means; here for the tests. */

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
    const char *cgroup;       /* borrowed: as in Home; NULL: it is found out */
    bool daemon_runs;         /* then what lies in tmp/ may be in use */
} DoctorInput;

/* found and mend are taken over; mend may be NULL. */
void doctor_check_set(DoctorCheck *check, DoctorStatus status, char *found, char *mend);

/* Each fills its check: status, text and advice. */
void doctor_check_namespace(const DoctorInput *input, DoctorCheck *check);
void doctor_check_tools(const DoctorInput *input, DoctorCheck *check);
void doctor_check_file_system(const DoctorInput *input, DoctorCheck *check);
void doctor_check_memory(const DoctorInput *input, DoctorCheck *check);
void doctor_check_disk(const DoctorInput *input, DoctorCheck *check);
void doctor_check_socket(const DoctorInput *input, DoctorCheck *check);
void doctor_check_leftovers(const DoctorInput *input, DoctorCheck *check);

/* The number of kB in a line "KEY: N kB" of /proc/meminfo's text; -ENOENT without such a line. */
int meminfo_find_bytes(const char *text, const char *key, uint64_t *bytes);

#endif
