/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_FORMATS_H
#define RAMET_DISK_FORMATS_H

/* What disks and root file systems come as. */

typedef enum ExtractKind {
    EXTRACT_RAW, /* anything that nothing below matches */
    EXTRACT_QCOW2,
    EXTRACT_VMDK, /* one whole disk in one file */
    EXTRACT_VHDX,
    EXTRACT_TAR_DISK,   /* a tar with disk.img at its root */
    EXTRACT_TAR_ROOTFS, /* any other tar: for rootfs_tar_to_ext4 */
} ExtractKind;

/* What a caller says that it is. Raw is taken as it stands: not unpacked, whatever its first bytes
 * are, since a guest may have written them. */
typedef enum ExtractWanted {
    EXTRACT_ANY,
    EXTRACT_ONLY_RAW,
    EXTRACT_ONLY_QCOW2,
    EXTRACT_ONLY_TAR,
    EXTRACT_ONLY_VMDK,
    EXTRACT_ONLY_VHDX,
} ExtractWanted;

typedef enum ExtractCompression {
    EXTRACT_PLAIN,
    EXTRACT_ZSTD,
    EXTRACT_XZ,
    EXTRACT_GZIP,
} ExtractCompression;

/* "raw", "qcow2", "vmdk", "vhdx", "tar-disk", "tar-rootfs"; "none", "zstd", "xz", "gzip". */
const char *extract_kind_name(ExtractKind kind);
const char *extract_compression_name(ExtractCompression compression);

#endif
