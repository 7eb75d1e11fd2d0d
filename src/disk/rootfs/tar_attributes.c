/* SPDX-License-Identifier: Apache-2.0 */

/* Owner, mode, attributes and times of what was unpacked.
 *
 * As root all of it is set on the file itself. Otherwise files stay the user's own and readable,
 * device nodes are empty files, and one line for each inode goes into a state file, from which
 * fakeroot(1) makes mke2fs see what the tar said
 * ("dev=HEX,ino=N,mode=OCTAL,uid=N,gid=N,nlink=N,rdev=N", faked.c of fakeroot). */

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/str.h"
#include "disk/rootfs/tar_attributes.h"

#define ACL_VERSION 2 /* POSIX_ACL_XATTR_VERSION in linux/posix_acl_xattr.h */
#define ACL_ENTRIES_MAX 1024
#define ATTRIBUTE_BYTES_MAX 65536

typedef struct AclEntry {
    uint16_t tag, permissions; /* little-endian, as all of it */
    uint32_t id;
} AclEntry;

void unpack_meta_read(struct archive_entry *entry, UnpackMeta *meta) {
    *meta = (UnpackMeta){
        .mode = archive_entry_mode(entry),
        .uid = (uid_t)archive_entry_uid(entry),
        .gid = (gid_t)archive_entry_gid(entry),
        .device = archive_entry_rdev(entry),
        .changed = {.tv_sec = archive_entry_mtime(entry),
                    .tv_nsec = archive_entry_mtime_nsec(entry)},
    };
}

typedef struct Place {
    int parent_fd;
    const char *name;
} Place;

/* /proc/self/fd/PARENT/NAME: the l*xattr calls have no form with a descriptor of a folder. */
static int set_attribute(void *data, const char *key, const void *value, size_t size,
                         Error *error) {
    const Place *place = data;
    _cleanup_free_ char *path = str_format("/proc/self/fd/%d/%s", place->parent_fd, place->name);
    if (lsetxattr(path, key, value, size, 0) == 0)
        return 0;
    if (errno == EPERM && geteuid() != 0) {
        error_set(error, ERROR_UNSUPPORTED, EPERM, "only root can keep the attribute %s", key);
        error_set_hint(error, "import this archive as root");
        return -EPERM;
    }
    return error_set_errno(error, errno, "cannot set attribute %s", key);
}

static int each_attribute(struct archive_entry *entry, UnpackAttribute attribute, void *data,
                          Error *error) {
    const char *key;
    const void *value;
    size_t size;
    int r;
    (void)archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &key, &value, &size) == ARCHIVE_OK) {
        if (!key || size > ATTRIBUTE_BYTES_MAX)
            return error_set(error, ERROR_CORRUPT, EBADMSG, "bad extended attribute");
        r = attribute(data, key, value, size, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static uint16_t acl_tag(int tag) {
    switch (tag) {
    case ARCHIVE_ENTRY_ACL_USER_OBJ:
        return 0x01;
    case ARCHIVE_ENTRY_ACL_USER:
        return 0x02;
    case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
        return 0x04;
    case ARCHIVE_ENTRY_ACL_GROUP:
        return 0x08;
    case ARCHIVE_ENTRY_ACL_MASK:
        return 0x10;
    default:
        return 0x20; /* others */
    }
}

/* The kernel wants them in the order of tag and id. */
static int compare_acl(const void *a, const void *b) {
    const AclEntry *x = a, *y = b;
    uint64_t left = (uint64_t)le16toh(x->tag) << 32 | le32toh(x->id);
    uint64_t right = (uint64_t)le16toh(y->tag) << 32 | le32toh(y->id);
    return left < right ? -1 : left > right;
}

static int each_acl(struct archive_entry *entry, int type, const char *key,
                    UnpackAttribute attribute, void *data, Error *error) {
    int count = archive_entry_acl_reset(entry, type), kind, permissions, tag, id;
    _cleanup_free_ AclEntry *entries = NULL;
    size_t n = 1;
    const char *who;

    if (count <= 0)
        return 0;
    if (count > ACL_ENTRIES_MAX)
        return error_set(error, ERROR_CORRUPT, E2BIG, "access control list too long");
    entries = calloc((size_t)count + 1, sizeof(AclEntry));
    if (!entries)
        abort();
    _Static_assert(sizeof(AclEntry) == 8, "the layout is the kernel's");
    /* The header is a 32-bit version: it takes the second half of the first entry. */
    entries[0].id = htole32(ACL_VERSION);
    while (n <= (size_t)count && archive_entry_acl_next(entry, type, &kind, &permissions, &tag, &id,
                                                        &who) == ARCHIVE_OK) {
        bool named = tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP;
        entries[n++] = (AclEntry){htole16(acl_tag(tag)), htole16((uint16_t)(permissions & 7)),
                                  htole32(named ? (uint32_t)id : UINT32_MAX)};
    }
    qsort(entries + 1, n - 1, sizeof(AclEntry), compare_acl);
    return attribute(data, key, &entries[0].id, 4 + (n - 1) * sizeof(AclEntry), error);
}

int unpack_attributes(struct archive_entry *entry, UnpackAttribute attribute, void *data,
                      Error *error) {
    int types = archive_entry_acl_types(entry);
    int r = each_attribute(entry, attribute, data, error);
    if (r >= 0 && (types & ARCHIVE_ENTRY_ACL_TYPE_ACCESS))
        r = each_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access", attribute,
                     data, error);
    if (r >= 0 && (types & ARCHIVE_ENTRY_ACL_TYPE_DEFAULT))
        r = each_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default", attribute,
                     data, error);
    return r;
}

static int apply_as_root(int parent_fd, const char *name, const UnpackMeta *meta) {
    if (fchownat(parent_fd, name, meta->uid, meta->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    /* After the owner, since a change of it takes set-user-ID bits away. NAME is no link: it was
     * made here. */
    if (!S_ISLNK(meta->mode) && fchmodat(parent_fd, name, meta->mode & 07777, 0) < 0)
        return -errno;
    return 0;
}

static int apply_as_user(int parent_fd, const char *name, const UnpackMeta *meta, FILE *state) {
    struct stat status;
    if (fstatat(parent_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (fprintf(state, "dev=%llx,ino=%llu,mode=%llo,uid=%llu,gid=%llu,nlink=%llu,rdev=%llu\n",
                (unsigned long long)status.st_dev, (unsigned long long)status.st_ino,
                (unsigned long long)meta->mode, (unsigned long long)meta->uid,
                (unsigned long long)meta->gid, (unsigned long long)status.st_nlink,
                (unsigned long long)meta->device) < 0)
        return -EIO;
    return 0;
}

int unpack_meta_apply(int parent_fd, const char *name, const UnpackMeta *meta,
                      struct archive_entry *entry, FILE *state, Error *error) {
    struct timespec times[2] = {meta->changed, meta->changed};
    Place place = {parent_fd, name};
    int r =
        state ? apply_as_user(parent_fd, name, meta, state) : apply_as_root(parent_fd, name, meta);

    if (r < 0)
        return error_set_errno(error, -r, "cannot set owner and mode");
    r = entry ? unpack_attributes(entry, set_attribute, &place, error) : 0;
    if (r < 0)
        return r;
    if (utimensat(parent_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set_errno(error, errno, "cannot set the time");
    return 0;
}
