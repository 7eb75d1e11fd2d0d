/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TRANSFER_TRANSFER_ROW_H
#define RAMET_TRANSFER_TRANSFER_ROW_H

#include "archive/archive_read.h"
#include "base/error.h"
#include "store/snapshots.h"

/* The row of a snapshot that arrives, of what its manifest says: checked as what a client asks a VM
 * to be is checked. What lies in files, and what this home knows better, is left empty. name NULL:
 * the archive's. ERROR_CORRUPT. */
int transfer_row_read(ArchiveReader *reader, const char *name, SnapshotRow *row, Error *error);

#endif
