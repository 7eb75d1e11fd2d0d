/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VM_DOCTOR_CHECKS_H
#define RAMET_VM_DOCTOR_CHECKS_H

/* The checks of doctor.c that look at the home and the host's means; here for the tests. */

#include "vm/doctor.h"

/* Each fills its check: status, text and advice. */
void doctor_check_tools(const DoctorInput *input, DoctorCheck *check);
void doctor_check_file_system(const DoctorInput *input, DoctorCheck *check);
void doctor_check_memory(const DoctorInput *input, DoctorCheck *check);
void doctor_check_disk(const DoctorInput *input, DoctorCheck *check);
void doctor_check_socket(const DoctorInput *input, DoctorCheck *check);
void doctor_check_leftovers(const DoctorInput *input, DoctorCheck *check);

/* The number of kB in a line "KEY: N kB" of /proc/meminfo's text; -ENOENT without such a line. */
int meminfo_find_bytes(const char *text, const char *key, uint64_t *bytes);

#endif
