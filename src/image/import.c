/* SPDX-License-Identifier: Apache-2.0 */

/* Importing a file:
 *
 *     record of this very file? ──yes──▶ its base is the answer (a few milliseconds)
 *        │ no
 *     lock named after the file's identity ▶ record now? another import was faster
 *        │ no
 *     extract into scratch ▶ does it hold a file system? ▶ did the file change meanwhile?
 *        │
 *     write the record ▶ publish the base ▶ unlock
 *
 * A base that came of a zstd file, which is unpacked faster than it is hashed, may be published by
 * the digest of that file, and learn its own later (deferred.h). Its record has no digest then.
 *
 * The record is written before the base appears, so that whoever waited for the lock finds both;
 * without its base a record does not count. A source that is no regular file has no identity: it is
 * read under a lock of its own, which is removed afterwards since nobody else can know its name. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "disk/extract.h"
#include "disk/rootfs.h"
#include "image/image_parts.h"
#include "image/record.h"

#define DEFAULT_MEMORY_BYTES (512 * MIB)

typedef struct Import {
    const ImageContext *context;       /* borrowed */
    const ImageImportRequest *request; /* borrowed */
    char sha256[SHA256_HEX_SIZE];      /* wanted, "" for none */
    int fd;                            /* borrowed */
    bool has_identity;                 /* a regular file, read from its start */
    struct stat st;                    /* as it was when it was opened */
    char key[SHA256_HEX_SIZE];         /* valid with has_identity */
    ImageRecord record;                /* the outcome */
    bool reused;
} Import;

static int parse_sha256(const char *text, char hex[SHA256_HEX_SIZE], Error *error) {
    uint8_t digest[SHA256_SIZE];
    if (!text || *text == '\0') {
        hex[0] = '\0';
        return 0;
    }
    if (str_has_prefix(text, "sha256:"))
        text += strlen("sha256:");
    if (hex_decode(text, digest, sizeof(digest)) < 0)
        return error_set(error, ERROR_USAGE, EINVAL, "a SHA-256 has 64 hexadecimal digits");
    hex_encode(digest, sizeof(digest), hex);
    return 0;
}

/* A record of an earlier import whose source had the wanted digest (if any is wanted). One that
 * says another digest is no answer: reading the file again tells the caller what is wrong. */
static bool find_record(Import *import) {
    if (!import->has_identity ||
        image_record_read(import->context->home, import->key, &import->record) < 0)
        return false;
    return import->sha256[0] == '\0' || str_equal(import->sha256, import->record.source_sha256);
}

static int look_again(void *data, bool *exists, Error *error) {
    Import *import = data;
    (void)error;
    *exists = import->reused = find_record(import);
    return 0;
}

/* xz and gzip take longer to decode than the content to hash; a raw file is hashed as it is read.
 */
static bool defers_digest(const Import *import, const ExtractSource *source) {
    return import->request->defer_digest && extract_source_compression(source) == EXTRACT_ZSTD;
}

static int extract_image(Import *import, ExtractSource *source, Publish *publish, Error *error) {
    _cleanup_free_ char *scratch = image_scratch_folder(import->context);
    ImageStep step = {import->context, "extracting the image"};
    ExtractOptions options = {
        .source = source,
        .output_fd = publish_scratch_fd(publish),
        .scratch_folder = scratch,
        .expected_sha256 = import->sha256[0] ? import->sha256 : NULL,
        .skip_content_sha256 = defers_digest(import, source),
        .progress = image_step_progress,
        .progress_data = &step,
        .cancel_fd = import->context->cancel_fd,
    };
    ExtractResult result;
    int r = extract_disk(&options, &result, error);
    if (r < 0)
        return r;
    memcpy(import->record.digest, result.content_sha256, SHA256_HEX_SIZE);
    memcpy(import->record.source_sha256, result.source_sha256, SHA256_HEX_SIZE);
    return 0;
}

static int extract_rootfs(Import *import, ExtractSource *source, Publish *publish, Error *error) {
    _cleanup_free_ char *scratch = image_scratch_folder(import->context);
    ImageStep step = {import->context, "unpacking the root file system"};
    RootfsOptions options = {
        .output_path = publish_scratch_path(publish),
        .scratch_folder = scratch,
        .expected_sha256 = import->sha256[0] ? import->sha256 : NULL,
        .progress = image_step_progress,
        .progress_data = &step,
        .cancel_fd = import->context->cancel_fd,
    };
    RootfsResult result;
    int r = rootfs_tar_to_ext4(source, &options, &result, error);
    if (r < 0)
        return r;
    memcpy(import->record.source_sha256, result.source_sha256, SHA256_HEX_SIZE);
    return sha256_file(publish_scratch_fd(publish), import->record.digest, error);
}

static int check_content(int fd, Error *error) {
    BaseContent content;
    int r = base_probe_content(fd, &content, error);
    if (r < 0 || content != BASE_CONTENT_UNKNOWN)
        return r;
    r = error_set(error, ERROR_CORRUPT, EBADMSG,
                  "it holds neither a file system nor a partition table");
    error_set_hint(error, "import a disk image, or a tar of a root file system");
    return r;
}

/* The bytes that were read are of one state of the file only when nothing changed meanwhile. */
static int check_unchanged(const Import *import, Error *error) {
    struct stat now;
    char key[SHA256_HEX_SIZE];
    if (!import->has_identity)
        return 0;
    if (fstat(import->fd, &now) < 0)
        return error_set_errno(error, errno, "cannot look at the source again");
    image_source_key(&now, key);
    return str_equal(key, import->key)
               ? 0
               : error_set(error, ERROR_CONFLICT, EBUSY, "it changed while it was read");
}

static int extract_and_publish(Import *import, Publish *publish, Error *error) {
    _cleanup_(extract_source_free_p) ExtractSource *source = NULL;
    int r = extract_source_new(import->fd, import->context->cancel_fd, &source, error);
    if (r < 0)
        return r;
    r = extract_source_kind(source) == EXTRACT_TAR_ROOTFS
            ? extract_rootfs(import, source, publish, error)
            : extract_image(import, source, publish, error);
    if (r >= 0)
        r = check_content(publish_scratch_fd(publish), error);
    if (r >= 0)
        r = check_unchanged(import, error);
    if (r >= 0)
        r = image_context_check(import->context, error);
    if (r < 0)
        return r;
    if (import->has_identity && image_source_is_settled(&import->st))
        image_record_write(import->context->home, import->key, &import->record);
    return *import->record.digest
               ? base_publish_raw(publish, import->record.digest, NULL, NULL, error)
               : base_publish_source(publish, import->record.source_sha256, error);
}

static void remove_lock(const Import *import, const char *name) {
    _cleanup_free_ char *path = str_format("%s/locks/images-%s.lock", import->context->home, name);
    (void)unlink(path);
}

static int import_locked(Import *import, Error *error) {
    _cleanup_free_ char *name =
        import->has_identity ? str_format("import-%s", import->key) : scratch_name("import");
    PublishOptions options = {.home = import->context->home,
                              .kind = "images",
                              .name = name,
                              .cancel_fd = import->context->cancel_fd,
                              .look = look_again,
                              .data = import};
    Publish *publish = NULL;
    bool exists = false;
    int r = publish_begin(&options, &publish, &exists, error);
    if (r >= 0 && !exists)
        r = extract_and_publish(import, publish, error);
    publish_free(publish);
    if (!import->has_identity)
        remove_lock(import, name);
    return r;
}

static void identify(Import *import) {
    if (fstat(import->fd, &import->st) < 0 || !S_ISREG(import->st.st_mode) ||
        lseek(import->fd, 0, SEEK_CUR) != 0)
        return;
    image_source_key(&import->st, import->key);
    import->has_identity = true;
}

static int open_source(const ImageImportRequest *request, int *fd, Error *error) {
    if (!request->path || str_equal(request->path, "-"))
        return error_set(error, ERROR_USAGE, EINVAL, "no file was named to import");
    *fd = open(request->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (*fd < 0)
        return error_set_errno(error, errno, "cannot open %s", request->path);
    struct stat st;
    if (fstat(*fd, &st) < 0)
        return error_set_errno(error, errno, "cannot look at %s", request->path);
    if (S_ISDIR(st.st_mode))
        return error_set(error, ERROR_USAGE, EISDIR, "%s is a folder", request->path);
    return fd_set_nonblocking(*fd, false);
}

static const char *source_name(const ImageImportRequest *request) {
    return !request->path || str_equal(request->path, "-") ? "standard input" : request->path;
}

static int import_base(Import *import, Error *error) {
    identify(import);
    import->reused = find_record(import);
    if (import->reused)
        return 0;
    int r = import_locked(import, error);
    return r < 0 ? error_add_context(error, "cannot import %s", source_name(import->request)) : r;
}

int image_import(const ImageContext *context, const ImageImportRequest *request, ImageInfo *info,
                 Error *error) {
    _cleanup_close_ int opened = -1;
    Import import = {.context = context, .request = request, .fd = request->fd};
    int r = name_check("image", request->name, error);
    if (r >= 0)
        r = parse_sha256(request->sha256, import.sha256, error);
    if (r >= 0 && request->fd < 0)
        r = open_source(request, &opened, error);
    if (r < 0)
        return r;
    if (opened >= 0)
        import.fd = opened;
    _cleanup_kernel_bundle_ KernelBundle kernel = {0};
    r = kernel_bundle_ensure(context, &request->kernel, &kernel, error);
    if (r >= 0)
        r = import_base(&import, error);
    if (r < 0)
        return r;
    char base[BASE_ID_SIZE];
    image_record_base(&import.record, base);
    ImageInfo filled;
    r = image_fill_info(context, request->name, base, &kernel, request->size_bytes, &filled, error);
    if (r < 0)
        return r;
    filled.default_memory_bytes = DEFAULT_MEMORY_BYTES;
    filled.source = str_format("file %s", source_name(request));
    filled.reused = import.reused;
    *info = filled;
    return 0;
}
