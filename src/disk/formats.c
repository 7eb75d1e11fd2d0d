/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/formats.h"

const char *extract_kind_name(ExtractKind kind) {
    static const char *const NAMES[] = {
        [EXTRACT_RAW] = "raw",           [EXTRACT_QCOW2] = "qcow2",
        [EXTRACT_VMDK] = "vmdk",         [EXTRACT_VHDX] = "vhdx",
        [EXTRACT_TAR_DISK] = "tar-disk", [EXTRACT_TAR_ROOTFS] = "tar-rootfs"};
    return NAMES[kind];
}

const char *extract_compression_name(ExtractCompression compression) {
    static const char *const NAMES[] = {[EXTRACT_PLAIN] = "none",
                                        [EXTRACT_ZSTD] = "zstd",
                                        [EXTRACT_XZ] = "xz",
                                        [EXTRACT_GZIP] = "gzip"};
    return NAMES[compression];
}
