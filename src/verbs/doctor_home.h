/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VERBS_DOCTOR_HOME_H
#define RAMET_VERBS_DOCTOR_HOME_H

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"

/* Examines the host and this home (verbs/doctor.h): {"checks":[…]}. Takes some hundred
 * milliseconds.
 */
int home_doctor(Home *home, json_t **json, Error *error);

#endif
