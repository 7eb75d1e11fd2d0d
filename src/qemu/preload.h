/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_QEMU_PRELOAD_H
#define RAMET_QEMU_PRELOAD_H

/* The order in which QEMU's dynamic linker looks for symbols.
 *
 * Half of the time until QEMU answers is dynamic linking: Debian's is bound at its start (-z now),
 * 12,000 symbols in 50 libraries, and each symbol is looked for in one library after the other, in
 * the order in which they were named. The three that have most of what is looked for come near the
 * end of that order. LD_PRELOAD (ld.so(8)) with libraries that are loaded anyhow loads nothing more
 * and only moves them to its front, which takes an eighth off QEMU's start. */

#include <sys/types.h>

#define QEMU_PRELOAD_SIZE 160

/* What LD_PRELOAD should be for the program that runs as `pid`: those of the three that it has
 * mapped, "" when it has none. */
void qemu_preload_find(pid_t pid, char preload[QEMU_PRELOAD_SIZE]);

/* The same from the text of a /proc/PID/maps (proc(5)). */
void qemu_preload_read(const char *maps, char preload[QEMU_PRELOAD_SIZE]);

#endif
