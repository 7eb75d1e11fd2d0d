/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_ARCHIVE_ARCHIVE_KERNEL_H
#define RAMET_ARCHIVE_ARCHIVE_KERNEL_H

/* The kernel bundle of an image or snapshot in an archive: the member "kernel", and "kernel" of the
 * manifest: {"key","version","bzimage","modules","load"}. Of what boots by its own boot loader the
 * manifest has "firmware" instead, the word that stands for a key (image/firmware.h).
 *
 * A bundle's key says what it was made from, which nobody can check of one that arrives. So one
 * that arrives is named by its content, unless the bundle of the key that it had is here and is the
 * same.
 */

#include "archive/archive_read.h"
#include "archive/archive_write.h"
#include "disk/publish.h"

/* Adds it to what goes out. */
int archive_kernel_add(const char *home, const char *key, json_t *manifest, ArchiveMembers *members,
                       int cancel_fd, Error *error);

/* Does the manifest say what boots it? With `since` it need not. */
bool archive_kernel_is_told(const json_t *manifest);

/* One that arrives. */
typedef struct ArchiveKernel {
    char key[SHA256_HEX_SIZE]; /* that it has here, or the word for the firmware */
    json_t *json;              /* owned: its kernel.json; NULL: it is here */
    Publish *publish;          /* owned; NULL: it is here */
} ArchiveKernel;
void archive_kernel_free(ArchiveKernel *kernel);
#define _cleanup_archive_kernel_ _cleanup_(archive_kernel_free)

/* Before the archive is read: finds out whether it is here, and wants the member where it is not.
 * After it: publishes it. */
int archive_kernel_begin(const char *home, ArchiveReader *reader, int cancel_fd,
                         ArchiveKernel *kernel, Error *error);
int archive_kernel_finish(ArchiveKernel *kernel, Error *error);

/* Is the kernel of a manifest, with those members, here? */
bool archive_kernel_is_here(const char *home, const json_t *manifest, ArchiveMembers *members,
                            int cancel_fd);

#endif
