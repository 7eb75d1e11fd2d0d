/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LAB_LAB_DESCRIBE_H
#define RAMET_LAB_LAB_DESCRIBE_H

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "store/lab/labs.h"

/* The row as JSON (lab.h), with what it consists of now, in the order of its description. */
int lab_describe(Home *home, const LabRow *row, json_t **lab, Error *error);

#endif
