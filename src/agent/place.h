/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_PLACE_H
#define RAMET_AGENT_PLACE_H

#include <limits.h>

#include "agent/util.h"

/* A folder that nothing may leave. Names below it are relative and clean: "a/b/c", no "." or "..".
 */
typedef struct Place {
    int base_fd;   /* owned */
    int parent_fd; /* owned: the folder that the last name was in */
    char parent[PATH_MAX];
} Place;

void place_close(Place *place);

/* The folder that holds `name`, opened component by component without following symbolic links;
 * with create, missing ones are made (0755). The descriptor is borrowed until the next call; *last
 * points to the last component in `name`. Negative errno: -ELOOP or -ENOTDIR when a link is in the
 * way. */
int place_parent(Place *place, const char *name, bool create, const char **last);

/* Opens the folder `name` in the same way; the caller owns the descriptor. */
int place_open_folder(Place *place, const char *name);

#endif
