/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_COPY_H
#define RAMET_MEMORY_COPY_H

#include <stdint.h>

/* Copies between files, from an offset of one to an offset of the other. What is written is on its
 * way to the disk while the rest is copied, so that an fsync(2) that follows has little to wait
 * for. 0 or a negative errno. */
int memory_copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset, uint64_t bytes);

/* Copies the data of a sparse file to the same places of another that has none there, and leaves
 * its holes (lseek(2), SEEK_DATA). disk/sparse.h does more, and brings more along than a keeper
 * should carry. 0 or a negative errno. */
int memory_copy_data(int from, int to, uint64_t size_bytes);

/* The same into an empty file, which is as large then. */
int memory_write_file(int memfd, int to, uint64_t size_bytes);

#endif
