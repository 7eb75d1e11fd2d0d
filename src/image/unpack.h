/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_UNPACK_H
#define RAMET_IMAGE_UNPACK_H

/* Taking apart what distributions ship: packed kernels, packed modules, .deb packages. All input is
 * hostile: sizes are bounded, and of an archive only folders and regular files are made. */

#include "image/context.h"

/* Unpacks gzip, bzip2, lzma, xz, lz4 or zstd into exactly out_size bytes. What would come after
 * them is not read. ERROR_CORRUPT when the input is damaged or gives less. */
int unpack_memory(const void *in, size_t in_size, void *out, size_t out_size, Error *error);

/* Copies a file, unpacking it on the way when it is packed in one of those ways. ERROR_CORRUPT when
 * it is damaged or gives more than max_bytes. */
int unpack_file(const char *path, int out_fd, uint64_t max_bytes, Error *error);

/* Writes those files of a Debian package (deb(5)) whose paths begin with one of the prefixes
 * ("boot/", "usr/bin/busybox"; NULL-terminated) below `folder`, which must be new and empty: no
 * links, no devices, nothing that leads out. At most max_bytes in all. Returns the number of files.
 */
int unpack_deb(const ImageContext *context, const char *path, const char *const *prefixes,
               const char *folder, uint64_t max_bytes, Error *error);

/* Is it a relative path without empty, "." and ".." parts? */
bool unpack_path_is_safe(const char *path);

#endif
