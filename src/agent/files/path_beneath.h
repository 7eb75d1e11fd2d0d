/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FILES_PATH_BENEATH_H
#define RAMET_AGENT_FILES_PATH_BENEATH_H

#include <limits.h>

#include "agent/base/util.h"

/* A folder that nothing may leave. Names below it are relative and clean: "a/b/c", no "." or "..".
 */
typedef struct PathBeneath {
    int base_fd;   /* owned */
    int parent_fd; /* owned: the folder that the last name was in */
    char parent[PATH_MAX];
} PathBeneath;

void path_beneath_close(PathBeneath *beneath);

/* The folder that holds `name`, opened component by component without following symbolic links;
 * with create, missing ones are made (0755). The descriptor is borrowed until the next call; *last
 * points to the last component in `name`. Negative errno: -ELOOP or -ENOTDIR when a link is in the
 * way. */
int path_beneath_parent(PathBeneath *beneath, const char *name, bool create, const char **last);

/* Opens the folder `name` in the same way; the caller owns the descriptor. */
int path_beneath_open_folder(PathBeneath *beneath, const char *name);

/* Removes what `name` is in that folder, with all below it. */
void path_beneath_remove(int parent, const char *name);

#endif
