/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_LAB_FILE_H
#define RAMET_CLI_LAB_FILE_H

/* A lab's description, in YAML, as the request that the API takes for it (docs/labs.md):
 *
 *   networks:                    # without it there is one, "default"
 *     NAME: {subnet, isolated, uplink}
 *   vms:
 *     NAME: {image, memory, cpus, disk, hostname, networks, router, seeds, volumes,
 *            config_disk, ports, env, labels, run, ready, ready_timeout}
 *
 * A VM that does not name its networks is in the only one. What can be checked without the daemon
 * is checked here, where the line is known. */

#include "base/error.h"
#include "base/json.h"

/* name: of the file, for messages. *request becomes {"networks":[{"name",…}],"vms":[{…}]}, each VM
 * as the API's VmSpec with "name" and "run"; the caller's. ERROR_USAGE "NAME:LINE: …". */
int lab_file_parse(const char *name, const char *text, size_t size, json_t **request, Error *error);

#endif
