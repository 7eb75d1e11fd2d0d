/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_COPY_H
#define RAMET_MEMORY_COPY_H

#include <stdint.h>

/* Copies the data of a sparse file to the same places of another that has none there, and leaves
 * its holes (lseek(2), SEEK_DATA). disk/sparse.h does more, and brings more along than a keeper
 * should carry. 0 or a negative errno. */
int memory_copy_data(int from, int to, uint64_t size_bytes);

#endif
