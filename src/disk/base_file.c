/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/base_file.h"

#define BASE_KIND "images"
#define PROBE_BYTES ((size_t)128 << 10)

#define OLD_PREFIX "sha256:"
#define SUFFIX ".raw"

/* What names a base. By the last, the digest of the file that it was made of, earlier versions
 * named it until its own was known. */
static const char *const KINDS[] = {TREE_DIGEST_PREFIX, OLD_PREFIX, BASE_SOURCE_PREFIX,
                                    BASE_CLONE_PREFIX};

/* ---- names ---- */

/* "tree1:HEX" becomes "tree1-HEX.raw". */
static char *id_to_name(const char *id) {
    char *name = str_format("%s" SUFFIX, id), *colon = strchr(name, ':');
    if (colon)
        *colon = '-';
    return name;
}

int base_id_from_name(const char *name, char id[BASE_ID_SIZE]) {
    uint8_t digest[SHA256_SIZE];
    for (size_t i = 0; i < ARRAY_SIZE(KINDS); i++) {
        size_t length = strlen(KINDS[i]) - 1; /* without the colon */
        char hex[SHA256_HEX_SIZE];
        if (strncmp(name, KINDS[i], length) != 0 || name[length] != '-' ||
            strlen(name) != length + SHA256_HEX_SIZE + strlen(SUFFIX) ||
            !str_equal(name + length + SHA256_HEX_SIZE, SUFFIX))
            continue;
        (void)snprintf(hex, sizeof(hex), "%s", name + length + 1);
        if (hex_decode(hex, digest, sizeof(digest)) < 0)
            return -EINVAL;
        (void)snprintf(id, BASE_ID_SIZE, "%s%s", KINDS[i], hex);
        return 0;
    }
    return -EINVAL;
}

bool base_id_is_old(const char *id) {
    return str_has_prefix(id, OLD_PREFIX);
}

char *base_path(const char *home, const char *id) {
    _cleanup_free_ char *name = id_to_name(id);
    return path_join(home, BASE_KIND, name);
}

char *seed_base_path(const char *home, const char *id) {
    _cleanup_free_ char *name = id_to_name(id);
    return path_join(home, SEED_KIND, name);
}

/* ---- publishing ---- */

int base_digest(int fd, int cancel_fd, char id[BASE_ID_SIZE], Error *error) {
    const TreeDigestOptions options = {.cancel_fd = cancel_fd};
    return tree_digest_file(fd, &options, id, error);
}

int base_publish(Publish *publish, const char *id, Error *error) {
    _cleanup_free_ char *name = id_to_name(id);
    return publish_commit_as(publish, name, error);
}

/* Lets `path` be the file `target` from now on, in one step. */
static int replace_by_link(const char *home, const char *target, const char *path) {
    _cleanup_free_ char *name = scratch_name("link");
    _cleanup_free_ char *scratch = path_join(home, "tmp", name);
    int r = link(target, scratch) < 0 ? -errno : 0;
    if (r >= 0 && rename(scratch, path) < 0)
        r = -errno;
    (void)unlink(scratch); /* it is still there when both were one file already */
    return r;
}

static int give_name(const char *home, const char *path, const char *target) {
    struct stat ours, theirs;
    if (link(path, target) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    if (stat(path, &ours) < 0 || stat(target, &theirs) < 0)
        return -errno;
    return ours.st_ino == theirs.st_ino ? 0 : replace_by_link(home, target, path);
}

int base_add_name(const char *home, const char *id, const char *added, Error *error) {
    _cleanup_free_ char *folder = path_join(home, BASE_KIND);
    _cleanup_free_ char *path = base_path(home, id), *target = base_path(home, added);
    int r = give_name(home, path, target);
    if (r >= 0)
        r = path_sync_folder(folder);
    return r < 0 ? error_set_errno(error, -r, "cannot name %s by its digest", path) : 0;
}

/* ---- content ---- */

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
