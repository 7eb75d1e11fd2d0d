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

#define DIGEST_PREFIX "sha256"
#define SOURCE_PREFIX "src"
#define SUFFIX ".raw"

/* ---- names ---- */

void base_id_from_digest(const char *sha256, char id[BASE_ID_SIZE]) {
    (void)snprintf(id, BASE_ID_SIZE, DIGEST_PREFIX ":%s", sha256);
}

void base_id_from_source(const char *sha256, char id[BASE_ID_SIZE]) {
    (void)snprintf(id, BASE_ID_SIZE, SOURCE_PREFIX ":%s", sha256);
}

const char *base_id_source(const char *id) {
    return str_has_prefix(id, SOURCE_PREFIX ":") ? id + strlen(SOURCE_PREFIX ":") : NULL;
}

/* "sha256:HEX" becomes "sha256-HEX.raw". */
static char *id_to_name(const char *id) {
    char *name = str_format("%s" SUFFIX, id), *colon = strchr(name, ':');

    if (colon)
        *colon = '-';
    return name;
}

int base_id_from_name(const char *name, char id[BASE_ID_SIZE]) {
    uint8_t digest[SHA256_SIZE];
    const char *dash = strchr(name, '-'), *end = strrchr(name, '.');
    char hex[SHA256_HEX_SIZE];

    if (!dash || !end || !str_equal(end, SUFFIX) || end - dash != SHA256_HEX_SIZE)
        return -EINVAL;
    (void)snprintf(hex, sizeof(hex), "%s", dash + 1);
    if (hex_decode(hex, digest, sizeof(digest)) < 0)
        return -EINVAL;
    if (str_has_prefix(name, DIGEST_PREFIX "-"))
        base_id_from_digest(hex, id);
    else if (str_has_prefix(name, SOURCE_PREFIX "-"))
        base_id_from_source(hex, id);
    else
        return -EINVAL;
    return 0;
}

char *base_id_path(const char *home, const char *id) {
    _cleanup_free_ char *name = id_to_name(id);
    return path_join(home, BASE_KIND, name);
}

char *base_path(const char *home, const char *sha256) {
    char id[BASE_ID_SIZE];

    base_id_from_digest(sha256, id);
    return base_id_path(home, id);
}

/* ---- publishing ---- */

static int publish_as(Publish *publish, const char *id, Error *error) {
    _cleanup_free_ char *name = id_to_name(id);
    return publish_commit_as(publish, name, error);
}

int base_publish_raw(Publish *publish, const char *sha256, char hex[SHA256_HEX_SIZE], char **path,
                     Error *error) {
    char digest[SHA256_HEX_SIZE] = "";
    char id[BASE_ID_SIZE];
    int r;

    if (sha256 && strlen(sha256) != SHA256_HEX_SIZE - 1)
        return error_set(error, ERROR_USAGE, EINVAL, "a SHA-256 digest has 64 hexadecimal digits");
    if (sha256)
        memcpy(digest, sha256, sizeof(digest));
    r = sha256 ? 0 : sha256_file(publish_scratch_fd(publish), digest, error);
    if (r < 0)
        return r;
    base_id_from_digest(digest, id);
    r = publish_as(publish, id, error);
    if (r < 0)
        return r;
    if (hex)
        memcpy(hex, digest, sizeof(digest));
    if (path)
        *path = str_copy(publish_path(publish));
    return 0;
}

int base_publish_source(Publish *publish, const char *source_sha256, Error *error) {
    char id[BASE_ID_SIZE];

    base_id_from_source(source_sha256, id);
    return publish_as(publish, id, error);
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
    if (ours.st_size != theirs.st_size)
        return -EBADMSG;
    return ours.st_ino == theirs.st_ino ? 0 : replace_by_link(home, target, path);
}

int base_name_by_digest(const char *home, const char *source_sha256, const char *sha256,
                        Error *error) {
    char id[BASE_ID_SIZE];
    _cleanup_free_ char *folder = path_join(home, BASE_KIND), *path = NULL, *target = NULL;
    int r;

    base_id_from_source(source_sha256, id);
    path = base_id_path(home, id);
    target = base_path(home, sha256);
    r = give_name(home, path, target);
    if (r >= 0)
        r = path_sync_folder(folder);
    if (r == -EBADMSG)
        return error_set(error, ERROR_CORRUPT, EBADMSG,
                         "%s exists with other content; remove it when no VM uses it", target);
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
