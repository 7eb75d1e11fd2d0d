/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TRANSFER_TRANSFER_DISKS_H
#define RAMET_TRANSFER_TRANSFER_DISKS_H

/* Within this folder: the frozen bases of disks beside the root (HOME/seeds), in archives of both
 * kinds: members "seed-1", "seed-2", … in the order of the disks. Of one that arrives the name
 * follows from its digest. */

#include "archive/archive_read.h"
#include "disk/publish.h"
#include "home/home.h"
#include "store/disks/vm_disk.h"

/* Adds disk `index` (from 0) to what goes out, and tells the digest of its base. stored: as a
 * member; else it is only told. ERROR_NOT_FOUND: its file is gone. */
int transfer_base_add(Home *home, ArchiveMembers *members, size_t index, const char *base,
                      bool stored, int cancel_fd, char digest[TREE_DIGEST_SIZE], Error *error);

/* Those that arrive. */
typedef struct TransferBases {
    Home *home; /* borrowed */
    size_t count;
    struct {
        Publish *publish; /* owned; NULL: it is here */
        char digest[TREE_DIGEST_SIZE];
        uint64_t bytes;
    } items[VM_MOUNTS_MAX];
} TransferBases;

/* From here on until the end no base is collected; then those that nobody has are. */
void transfer_bases_begin(Home *home, TransferBases *bases);
void transfer_bases_end(TransferBases *bases);

/* The next disk's, by the digest that the manifest tells: wants its member unless it is here.
 * ERROR_NOT_FOUND: neither. */
int transfer_bases_want(TransferBases *bases, ArchiveReader *reader, const char *digest,
                        int cancel_fd, Error *error);

/* After the archive was read. */
int transfer_bases_finish(TransferBases *bases, Error *error);

#endif
