/* SPDX-License-Identifier: Apache-2.0 */

/* Everything that an archive or compressed disk drives, short of qemu-img (which qcow2 would
 * start). */

#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "disk/base_file.h"
#include "disk/extract.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_close_ int in = memfd_create("in", MFD_CLOEXEC),
                        out = memfd_create("out", MFD_CLOEXEC);
    _cleanup_(extract_source_free_p) ExtractSource *source = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    ExtractOptions options = {.output_fd = out, .max_bytes = 4 * MIB, .cancel_fd = -1};
    ExtractResult result;
    if (in < 0 || out < 0 || fd_pwrite_full(in, data, size, 0) < 0)
        return 0;
    if (extract_source_new(in, -1, &source, &error) < 0 ||
        extract_source_kind(source) == EXTRACT_QCOW2 ||
        extract_source_kind(source) == EXTRACT_VMDK || extract_source_kind(source) == EXTRACT_VHDX)
        return 0;
    options.source = source;
    if (extract_disk(&options, &result, &error) == 0)
        (void)base_check_whole(out, &error);
    return 0;
}
