/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROVE_LAB_H
#define RAMET_PROVE_LAB_H

#include "base/json.h"
#include "proto/api/http_client.h"

#define PROVE_COPIES_DEFAULT 2
#define PROVE_COPIES_MAX 16

/* Makes copies of a lab's snapshot through the API at `socket`, or looks at a lab that is a copy,
 * and shows that each VM is who its source was and yet has random numbers, boot_id and time of its
 * own, that connections go on at both ends, and that what one copy sends no other one gets:
 * {"name","ok","labs":[names],"vms":[facts of each],"checks":[{"what","ok","message"}]}, the
 * caller's. What is wrong is in the report. Copies that it made are removed. on_event hears of
 * stages. */
int prove_lab(const char *socket, const char *reference, unsigned count, HttpLineHandler on_event,
              void *data, json_t **report, Error *error);

#endif
