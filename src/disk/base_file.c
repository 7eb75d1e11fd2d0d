/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/base_file.h"

#define BASE_KIND "images"
#define PROBE_BYTES ((size_t)128 << 10)

static char *base_name(const char *sha256) {
    return str_format("sha256-%s.raw", sha256);
}

char *base_path(const char *home, const char *sha256) {
    _cleanup_free_ char *name = base_name(sha256);
    return path_join(home, BASE_KIND, name);
}

int base_publish_raw(Publish *publish, const char *sha256, char hex[SHA256_HEX_SIZE], char **path,
                     Error *error) {
    char digest[SHA256_HEX_SIZE] = "";
    _cleanup_free_ char *name = NULL;
    int r;

    if (sha256 && strlen(sha256) != SHA256_HEX_SIZE - 1)
        return error_set(error, ERROR_USAGE, EINVAL, "a SHA-256 digest has 64 hexadecimal digits");
    if (sha256)
        memcpy(digest, sha256, sizeof(digest));
    r = sha256 ? 0 : sha256_file(publish_scratch_fd(publish), digest, error);
    if (r < 0)
        return r;
    name = base_name(digest);
    r = publish_commit_as(publish, name, error);
    if (r < 0)
        return r;
    if (hex)
        memcpy(hex, digest, sizeof(digest));
    if (path)
        *path = str_copy(publish_path(publish));
    return 0;
}

/* Magic numbers, from the kernel's include/uapi/linux/magic.h and each file system's own headers;
 * GPT: UEFI 2.10, 5.3.2 (behind a protective MBR, so it comes first); ISO 9660: ECMA-119, 8.1. */
static const struct {
    BaseContent content;
    size_t offset;
    const char *magic;
    size_t length;
} MAGICS[] = {
    {BASE_CONTENT_EXT4, 1080, "\x53\xef", 2},          {BASE_CONTENT_XFS, 0, "XFSB", 4},
    {BASE_CONTENT_BTRFS, 65600, "_BHRfS_M", 8},        {BASE_CONTENT_SQUASHFS, 0, "hsqs", 4},
    {BASE_CONTENT_EROFS, 1024, "\xe2\xe1\xf5\xe0", 4}, {BASE_CONTENT_GPT, 512, "EFI PART", 8},
    {BASE_CONTENT_GPT, 4096, "EFI PART", 8}, /* disks with sectors of 4 KiB */
    {BASE_CONTENT_ISO9660, 32769, "CD001", 5},         {BASE_CONTENT_MBR, 510, "\x55\xaa", 2},
};

int base_probe_content(int fd, BaseContent *content, Error *error) {
    _cleanup_free_ uint8_t *data = malloc(PROBE_BYTES);
    BaseContent found = BASE_CONTENT_UNKNOWN;
    ssize_t n;

    if (!data)
        abort();
    n = fd_pread_full(fd, data, PROBE_BYTES, 0);
    if (n < 0)
        return error_set_errno(error, (int)-n, "cannot read the disk");
    for (size_t i = 0; i < ARRAY_SIZE(MAGICS) && found == BASE_CONTENT_UNKNOWN; i++)
        if ((size_t)n >= MAGICS[i].offset + MAGICS[i].length &&
            memcmp(data + MAGICS[i].offset, MAGICS[i].magic, MAGICS[i].length) == 0)
            found = MAGICS[i].content;
    *content = found;
    return 0;
}

const char *base_content_name(BaseContent content) {
    static const char *const NAMES[] = {
        [BASE_CONTENT_UNKNOWN] = "unknown",   [BASE_CONTENT_EXT4] = "ext4",
        [BASE_CONTENT_XFS] = "xfs",           [BASE_CONTENT_BTRFS] = "btrfs",
        [BASE_CONTENT_SQUASHFS] = "squashfs", [BASE_CONTENT_EROFS] = "erofs",
        [BASE_CONTENT_GPT] = "gpt",           [BASE_CONTENT_MBR] = "mbr",
        [BASE_CONTENT_ISO9660] = "iso9660",
    };
    return NAMES[content];
}
