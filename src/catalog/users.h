/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CATALOG_USERS_H
#define RAMET_CATALOG_USERS_H

/* Who is in the way of a removal, by the names that `ps` and `snapshot ls` show. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "store/snapshots.h"
#include "store/vms.h"

#define SNAPSHOT_LABEL_SIZE 64

/* A snapshot's name, or the start of its id as long as lists show it. */
void snapshot_label(const SnapshotRow *row, char label[SNAPSHOT_LABEL_SIZE]);

/* Adds that to a list of texts. */
void snapshot_append_label(json_t *list, const SnapshotRow *row);

/* Does this VM grow from the snapshot, wait in it or map its memory? */
bool vm_needs_snapshot(const VmRow *vm, const char *snapshot);

/* "VM web1, snapshot warm and 3 more": who needs the snapshot, and who stands on the image's base;
 * "" when nobody does, or the store cannot be read. The caller owns the text. */
char *users_of_snapshot(Home *home, const SnapshotRow *row);
char *users_of_image(Home *home, const char *digest);

/* ERROR_CONFLICT when there is a pool of the snapshot or image. */
int users_check_pool(Home *home, const char *source, const char *what, const char *name,
                     Error *error);

#endif
