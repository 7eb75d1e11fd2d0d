/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FILES_TAR_WRITE_H
#define RAMET_AGENT_FILES_TAR_WRITE_H

#include <sys/stat.h>

#include "agent/files/tar.h"

typedef struct TarWriter {
    int fd;    /* borrowed */
    int error; /* the first negative errno of a write; everything after is dropped */
    size_t used;
    uint8_t buffer[64 * 1024];
} TarWriter;

void tar_writer_init(TarWriter *writer, int fd);

/* The headers of one entry. Sparse: segments with fewer bytes than st_size; their map is written
 * too. The data of the segments follows by tar_write, and tar_write_padding ends the entry. */
void tar_write_header(TarWriter *writer, TarType type, const char *name, const char *link,
                      const struct stat *file, const TarSegments *sparse);
void tar_write(TarWriter *writer, const void *data, size_t size);
void tar_write_padding(TarWriter *writer, uint64_t size);

/* The end of the archive; 0 or the first error. */
int tar_write_end(TarWriter *writer);

#endif
