/* SPDX-License-Identifier: Apache-2.0 */

/* Written by libarchive in newc format. The same inputs give the same bytes: every entry is of user
 * 0, time 0, one link, with inode numbers counted from 1, in an order that is fixed here.
 *
 * It is not compressed: QEMU maps it or reads it from page cache, while unpacking would be the
 * guest's work, and under emulation that costs more than the bytes. */
#include "image/initramfs.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "disk/publish.h"
#include "image/modules.h"
#include "image/unpack.h"

#define INITRAMFS_FORMAT 1
#define AGENT_MAX_BYTES (64 * MIB)
#define MODULE_MAX_BYTES (64 * MIB)
#define TABLE_MAX_BYTES (16 * MIB)

typedef struct Writer {
    struct archive *archive; /* owned */
    int64_t inode;
} Writer;

static void writer_free(Writer *writer) {
    if (writer->archive)
        (void)archive_write_free(writer->archive);
}

static int writer_failed(const Writer *writer, Error *error) {
    int errnum = archive_errno(writer->archive);
    return error_set_errno(error, errnum > 0 ? errnum : EIO, "cannot write the initramfs");
}

static int writer_open(Writer *writer, int fd, Error *error) {
    writer->archive = archive_write_new();
    if (!writer->archive)
        abort();
    if (archive_write_set_format_cpio_newc(writer->archive) != ARCHIVE_OK ||
        archive_write_set_bytes_per_block(writer->archive, 512) != ARCHIVE_OK ||
        archive_write_open_fd(writer->archive, fd) != ARCHIVE_OK)
        return writer_failed(writer, error);
    return 0;
}

static void entry_free_p(struct archive_entry **entry) {
    archive_entry_free(*entry);
}

static int add_entry(Writer *writer, const char *name, mode_t mode, const void *data, size_t size,
                     Error *error) {
    _cleanup_(entry_free_p) struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_mode(entry, mode);
    archive_entry_set_size(entry, (la_int64_t)size);
    archive_entry_set_ino64(entry, ++writer->inode);
    archive_entry_set_nlink(entry, S_ISDIR(mode) ? 2 : 1);
    archive_entry_set_mtime(entry, 0, 0);
    archive_entry_set_uid(entry, 0);
    archive_entry_set_gid(entry, 0);
    if (S_ISCHR(mode))
        archive_entry_set_rdev(entry, makedev(5, 1));
    if (archive_write_header(writer->archive, entry) != ARCHIVE_OK ||
        (size > 0 && archive_write_data(writer->archive, data, size) != (la_ssize_t)size))
        return writer_failed(writer, error);
    return 0;
}

/* Unpacks a module into memory and adds it. */
static int add_module(Writer *writer, const char *path, const char *name, Error *error) {
    _cleanup_close_ int fd = memfd_create("module", MFD_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot unpack %s", path);
    int r = unpack_file(path, fd, MODULE_MAX_BYTES, error);
    if (r < 0)
        return r;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set_errno(error, errno, "cannot unpack %s", path);
    _cleanup_free_ char *data = malloc((size_t)st.st_size + 1);
    if (!data || fd_pread_full(fd, data, (size_t)st.st_size, 0) != st.st_size)
        return error_set_errno(error, ENOMEM, "cannot unpack %s", path);
    _cleanup_free_ char *inside = str_format("modules/%s.ko", name);
    return add_entry(writer, inside, S_IFREG | 0644, data, (size_t)st.st_size, error);
}

/* Their paths, what they need first. */
static int find_file_systems(const KernelBundle *bundle, StrList *load, Error *error) {
    static const ModuleWanted wanted[] = {
        {"isofs", true},    {"nls_cp437", true},     {"nls_ascii", true},
        {"nls_utf8", true}, {"nls_iso8859_1", true}, {"vfat", true},
    };
    _cleanup_free_ char *path = path_join(bundle->modules, "modules.dep"), *dep = NULL;
    size_t size = 0;
    int r = fd_read_file_at(AT_FDCWD, path, TABLE_MAX_BYTES, &dep, &size);
    if (r < 0)
        return error_set_errno(error, -r, "cannot read %s", path);
    return modules_closure(dep, size, NULL, 0, wanted, ARRAY_SIZE(wanted), load, error);
}

static bool contains(const StrList *list, const char *text) {
    for (size_t i = 0; i < list->count; i++)
        if (str_equal(list->items[i], text))
            return true;
    return false;
}

/* What is to be loaded: each once. */
static int list_modules(const KernelBundle *bundle, bool more, StrList *list, Error *error) {
    _cleanup_(strlist_free) StrList load = {0};
    int r = more && bundle->modules ? find_file_systems(bundle, &load, error) : 0;
    for (size_t i = 0; i < bundle->load.count; i++)
        strlist_add(list, bundle->load.items[i]);
    for (size_t i = 0; i < load.count; i++)
        if (!contains(list, load.items[i]))
            strlist_add(list, load.items[i]);
    return r;
}

static int add_modules(Writer *writer, const KernelBundle *bundle, bool more, Error *error) {
    _cleanup_(strlist_free) StrList list = {0};
    _cleanup_(strbuf_free) StrBuf order = {0};
    int found = list_modules(bundle, more, &list, error);
    if (found < 0)
        return found;
    for (size_t i = 0; i < list.count; i++) {
        char name[128];
        const char *path = list.items[i];
        if (!bundle->modules || !unpack_path_is_safe(path) ||
            module_name_of_path(path, name, sizeof(name)) < 0)
            return error_set(error, ERROR_CORRUPT, EBADMSG, "kernel bundle %s is damaged",
                             bundle->key);
        _cleanup_free_ char *full = path_join(bundle->modules, path);
        int r = add_module(writer, full, name, error);
        if (r < 0)
            return r;
        strbuf_add_format(&order, "%s.ko\n", name);
    }
    _cleanup_free_ char *text = strbuf_steal(&order);
    return add_entry(writer, "modules/order", S_IFREG | 0644, text, strlen(text), error);
}

typedef struct Agent {
    char *data; /* owned */
    size_t size;
} Agent;

static void agent_free(Agent *agent) {
    free(agent->data);
}

static int write_archive(const KernelBundle *bundle, const Agent *agent, bool more, int fd,
                         Error *error) {
    static const char *const folders[] = {"dev", "modules", "proc", "root", "run", "sys"};
    _cleanup_(writer_free) Writer writer = {0};
    int r = writer_open(&writer, fd, error);
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(folders); i++)
        r = add_entry(&writer, folders[i], S_IFDIR | 0755, NULL, 0, error);
    if (r >= 0)
        r = add_entry(&writer, "dev/console", S_IFCHR | 0600, NULL, 0, error);
    if (r >= 0)
        r = add_entry(&writer, "init", S_IFREG | 0755, agent->data, agent->size, error);
    if (r >= 0)
        r = add_modules(&writer, bundle, more, error);
    if (r < 0)
        return r;
    return archive_write_close(writer.archive) == ARCHIVE_OK ? 0 : writer_failed(&writer, error);
}

/* Read once, so that the key and the content are of the same agent even while a new one is
 * installed. */
static int read_agent(const char *path, Agent *agent, Error *error) {
    int r = fd_read_file_at(AT_FDCWD, path, AGENT_MAX_BYTES, &agent->data, &agent->size);
    if (r < 0) {
        r = error_set_errno(error, -r, "cannot read the agent %s", path);
        error_set_hint(error, "build or install ramet-agent beside rametd");
    }
    return r;
}

static void make_key(const KernelBundle *bundle, const Agent *agent, bool more,
                     char key[SHA256_HEX_SIZE]) {
    char digest[SHA256_HEX_SIZE];
    sha256_data(agent->data, agent->size, digest);
    _cleanup_free_ char *text = str_format("ramet initramfs %d\n%s\n%s\n%s", INITRAMFS_FORMAT,
                                           bundle->key, digest, more ? "more file systems\n" : "");
    sha256_data(text, strlen(text), key);
}

static int publish_archive(const ImageContext *context, const KernelBundle *bundle,
                           const Agent *agent, bool more, const char *name, Error *error) {
    PublishOptions options = image_publish_options(context, "initramfs", name);
    _cleanup_(publish_free_p) Publish *publish = NULL;
    bool exists = false;
    int r = publish_begin(&options, &publish, &exists, error);
    if (r < 0 || exists)
        return r;
    r = write_archive(bundle, agent, more, publish_scratch_fd(publish), error);
    return r < 0 ? r : publish_commit(publish, error);
}

int initramfs_ensure(const ImageContext *context, const KernelBundle *bundle,
                     const char *agent_path, bool more_file_systems, char **path, char **key,
                     Error *error) {
    _cleanup_(agent_free) Agent agent = {0};
    int r = read_agent(agent_path, &agent, error);
    if (r < 0)
        return r;
    char hex[SHA256_HEX_SIZE];
    make_key(bundle, &agent, more_file_systems, hex);
    _cleanup_free_ char *name = str_format("%s.cpio", hex);
    _cleanup_free_ char *final = path_join(context->home, "initramfs", name);
    if (access(final, R_OK) < 0)
        r = publish_archive(context, bundle, &agent, more_file_systems, name, error);
    if (r < 0)
        return r;
    (void)utimensat(AT_FDCWD, final, NULL, 0); /* when it was used: usage/boot_files.h */
    *path = TAKE_PTR(final);
    *key = str_copy(hex);
    return 0;
}
