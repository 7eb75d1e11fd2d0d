/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_SOFT_DIRTY_H
#define RAMET_MEMORY_SOFT_DIRTY_H

/* Soft-dirty bits: the kernel sets one for each page of a process that is written after they were
 * cleared (Documentation/admin-guide/mm/soft-dirty.rst). Read with pagemap_read. */

#include <stdbool.h>
#include <sys/types.h>

/* Does this kernel have them (CONFIG_MEM_SOFT_DIRTY)? One without takes the command all the same,
 * so it is tried, once, with two pages of this process. */
bool soft_dirty_works(void);

/* Clears all bits of a process, which write-protects all its pages. 0 or a negative errno. */
int soft_dirty_clear(pid_t pid);

#endif
