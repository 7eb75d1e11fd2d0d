/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_ISO_H
#define RAMET_DISK_ISO_H

/* Writing an ISO 9660 file system, by libarchive, which collects the files' content in a file
 * without a name in $TMPDIR. The time of day is in its header, so that no two are equal. */

#include <sys/stat.h>

#include "base/error.h"

typedef struct IsoWriter IsoWriter; /* opaque */

/* Into an empty file. options: as libarchive's writer has them, such as
 * "volume-id=cidata,rockridge=useful". */
int iso_open(int fd, const char *options, IsoWriter **writer, Error *error);

/* One more entry: type, mode, owner, size and time of `info`; target: of a symbolic link. */
int iso_begin_entry(IsoWriter *writer, const char *path, const struct stat *info,
                    const char *target, Error *error);

/* The next piece of the content of the entry that was begun. */
int iso_add_data(IsoWriter *writer, const void *data, size_t size, Error *error);

/* Writes all of it. */
int iso_close(IsoWriter *writer, Error *error);

/* NULL is fine. */
void iso_free(IsoWriter *writer);

static inline void iso_free_p(IsoWriter **writer) {
    iso_free(*writer);
}
#define _cleanup_iso_ _cleanup_(iso_free_p)

#endif
