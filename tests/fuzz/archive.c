/* SPDX-License-Identifier: Apache-2.0 */

/* An archive from anywhere: its head, manifest, members and records. The SHA-256 of the manifest is
 * mended first, or nothing behind it would be reached. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archive/archive_read.h"
#include "base/fd.h"
#include "proto/archive_format.h"
#include "proto/archive_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend(uint8_t *bytes, size_t size) {
    size_t start = ARCHIVE_HEAD_BYTES + ARCHIVE_RECORD_BYTES;
    char hex[SHA256_HEX_SIZE];
    ArchiveRecord record;
    if (size < start || archive_read_record(bytes + ARCHIVE_HEAD_BYTES, &record, NULL) < 0 ||
        record.stored_bytes > size - start)
        return;
    sha256_data(bytes + start, record.stored_bytes, hex);
    (void)hex_decode(hex, bytes + ARCHIVE_HEAD_BYTES + 32, SHA256_SIZE);
}

/* Small members only: what is fuzzed is what is said of them. */
static void run(ArchiveReader *reader) {
    const ArchiveReadOptions options = {.cancel_fd = -1};
    for (size_t i = 0; i < reader->members.count; i++) {
        ArchiveMember *member = &reader->members.items[i];
        if (member->file.bytes > 64 * MIB || member->file.n_parts > 0)
            continue;
        member->file.fd = memfd_create("fuzz", MFD_CLOEXEC);
        member->wanted = member->file.fd >= 0;
    }
    (void)archive_reader_run(reader, &options, NULL);
}

/* As a pull does with the parts of one: here with all of it as the first. */
static void join(int fd) {
    _cleanup_close_ int out = memfd_create("fuzz", MFD_CLOEXEC);
    _cleanup_json_ json_t *manifest = NULL;
    if (out < 0)
        abort();
    (void)archive_parts_manifest(fd, &manifest, NULL);
    (void)archive_parts_join(&fd, 1, out, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_archive_reader_ ArchiveReader reader = {0};
    _cleanup_close_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
    _cleanup_free_ uint8_t *bytes = malloc(size + 1);
    if (fd < 0 || !bytes)
        abort();
    memcpy(bytes, data, size);
    mend(bytes, size);
    (void)archive_find_failure(bytes, size, NULL);
    if (fd_write_full(fd, bytes, size) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        abort();
    if (archive_reader_open(&reader, fd, NULL) >= 0)
        run(&reader);
    join(fd);
    return 0;
}
