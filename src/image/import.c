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
#include "disk/rootfs/rootfs.h"
#include "image/direct/disk_kernel.h"
#include "image/firmware.h"
#include "image/image_parts.h"
#include "image/import_record.h"

#define DEFAULT_MEMORY_BYTES (512 * MIB)

/* The words of --format. */
static const struct {
    const char *name;
    ExtractWanted wanted;
} formats[] = {
    {"raw", EXTRACT_ONLY_RAW},   {"qcow2", EXTRACT_ONLY_QCOW2}, {"vmdk", EXTRACT_ONLY_VMDK},
    {"vhdx", EXTRACT_ONLY_VHDX}, {"tar", EXTRACT_ONLY_TAR},
};

typedef struct Import {
    const ImageContext *context;       /* borrowed */
    const ImageImportRequest *request; /* borrowed */
    char sha256[SHA256_HEX_SIZE];      /* wanted, "" for none */
    ExtractWanted wanted;
    int fd;                    /* borrowed */
    bool has_identity;         /* a regular file, read from its start */
    struct stat st;            /* as it was when it was opened */
    char key[SHA256_HEX_SIZE]; /* valid with has_identity */
    ImageRecord record;        /* the outcome */
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

static int parse_format(const char *text, ExtractWanted *wanted, Error *error) {
    *wanted = EXTRACT_ANY;
    if (!text || !*text)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (str_equal(text, formats[i].name)) {
            *wanted = formats[i].wanted;
            return 0;
        }
    return error_set(error, ERROR_USAGE, EINVAL,
                     "\"%s\" is no format: raw, qcow2, vmdk, vhdx or tar", text);
}

/* A file that was read as one format is another answer when it is read as another. */
static void make_key(const Import *import, const struct stat *st, char key[SHA256_HEX_SIZE]) {
    image_source_key(st, key);
    if (import->wanted == EXTRACT_ANY)
        return;
    _cleanup_free_ char *text = str_format("%s as %d", key, (int)import->wanted);
    sha256_data(text, strlen(text), key);
}

/* A record of an earlier import whose source had the wanted digest (if any is wanted). One that
 * says another digest is no answer: reading the file again tells the caller what is wrong. */
static bool find_record(Import *import) {
    if (!import->has_identity ||
        image_record_read(import->context->home, import->key, &import->record) < 0)
        return false;
    return import->sha256[0] == '\0' || str_equal(import->sha256, import->record.source_sha256);
}

static int check_again(void *data, bool *exists, Error *error) {
    Import *import = data;
    (void)error;
    *exists = import->reused = find_record(import);
    return 0;
}

static int extract_image(Import *import, ExtractSource *source, Publish *publish, Error *error) {
    _cleanup_free_ char *scratch = image_scratch_folder(import->context);
    ImageStep step = {import->context, "extracting the image"};
    ExtractOptions options = {
        .source = source,
        .output_fd = publish_scratch_fd(publish),
        .scratch_folder = scratch,
        .expected_sha256 = import->sha256[0] ? import->sha256 : NULL,
        .progress = image_step_progress,
        .progress_data = &step,
        .cancel_fd = import->context->cancel_fd,
    };
    ExtractResult result;
    int r = extract_disk(&options, &result, error);
    if (r < 0)
        return r;
    (void)snprintf(import->record.base, sizeof(import->record.base), "%s", result.digest);
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
    return base_digest(publish_scratch_fd(publish), options.cancel_fd, import->record.base, error);
}

static int check_content(int fd, Error *error) {
    BaseContent content;
    int r = base_probe_content(fd, &content, error);
    if (r < 0 || content != BASE_CONTENT_UNKNOWN)
        return r;
    r = error_set(error, ERROR_CORRUPT, EBADMSG,
                  "it holds neither a file system nor a partition table");
    error_set_hint(error,
                   "import a disk image, or a tar of a root file system; a compressed disk is "
                   "not unpacked with --format raw");
    return r;
}

/* The bytes that were read are of one state of the file only when nothing was written meanwhile.
 * The time of its inode's change is not asked: a further hard link of a file changes none of its
 * bytes. */
static int check_unchanged(const Import *import, Error *error) {
    struct stat now;
    if (!import->has_identity)
        return 0;
    if (fstat(import->fd, &now) < 0)
        return error_set_errno(error, errno, "cannot look at the source again");
    return now.st_size == import->st.st_size && now.st_mtim.tv_sec == import->st.st_mtim.tv_sec &&
                   now.st_mtim.tv_nsec == import->st.st_mtim.tv_nsec
               ? 0
               : error_set(error, ERROR_CONFLICT, EBUSY, "it changed while it was read");
}

static int extract_and_publish(Import *import, Publish *publish, Error *error) {
    _cleanup_(extract_source_free_p) ExtractSource *source = NULL;
    int r = extract_source_new_as(import->fd, import->context->cancel_fd, import->wanted, &source,
                                  error);
    if (r < 0)
        return r;
    r = extract_source_kind(source) == EXTRACT_TAR_ROOTFS
            ? extract_rootfs(import, source, publish, error)
            : extract_image(import, source, publish, error);
    if (r >= 0)
        r = check_content(publish_scratch_fd(publish), error);
    if (r >= 0)
        r = base_check_whole(publish_scratch_fd(publish), error);
    if (r >= 0)
        r = check_unchanged(import, error);
    if (r >= 0)
        r = image_context_check(import->context, error);
    if (r < 0)
        return r;
    if (import->has_identity && image_source_is_stable(&import->st))
        image_record_write(import->context->home, import->key, &import->record);
    return base_publish(publish, import->record.base, error);
}

static void remove_lock(const Import *import, const char *name) {
    _cleanup_free_ char *path = str_format("%s/locks/images-%s.lock", import->context->home, name);
    (void)unlink(path);
}

static int import_locked(Import *import, Error *error) {
    _cleanup_free_ char *name =
        import->has_identity ? str_format("import-%s", import->key) : scratch_name("import");
    PublishOptions options = image_publish_options(import->context, "images", name);
    options.check = check_again;
    options.data = import;
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
    make_key(import, &import->st, import->key);
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

/* What boots it: a loader of its own, or a kernel of ours. */
static int fill_info(const ImageContext *context, const ImageImportRequest *request,
                     const Import *import, ImageInfo *info, Error *error) {
    _cleanup_kernel_bundle_ KernelBundle kernel = {0};
    _cleanup_free_ char *path = base_path(context->home, import->record.base);
    const char *firmware = "";
    bool direct = request->machine && *request->machine;
    int r = direct ? disk_kernel_ensure(context, path, &kernel, error)
                   : firmware_choose(path, request->boot, &firmware, error);
    if (r >= 0 && !direct && !*firmware)
        r = kernel_bundle_ensure(context, &request->kernel, &kernel, error);
    if (r < 0)
        return error_add_context(error, "cannot import %s", source_name(request));
    if (*firmware)
        str_set(kernel.key, firmware);
    return image_fill_info(context, request->name, import->record.base, &kernel,
                           request->size_bytes, info, error);
}

/* microvm has no firmware, and boots the disk's own kernel. */
static int check_machine(const ImageImportRequest *request, Error *error) {
    const char *machine = request->machine;
    if (!machine || !*machine)
        return 0;
    if (!str_equal(machine, "microvm"))
        return error_set(error, ERROR_USAGE, EINVAL, "\"%.16s\" is no machine to choose: microvm",
                         machine);
    if ((request->boot && *request->boot) || request->kernel.kernel)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "a microvm boots the disk's own kernel: no other, and no boot loader");
    return 0;
}

int image_import(const ImageContext *context, const ImageImportRequest *request, ImageInfo *info,
                 Error *error) {
    _cleanup_close_ int opened = -1;
    Import import = {.context = context, .request = request, .fd = request->fd};
    int r = name_check("image", request->name, error);
    if (r >= 0)
        r = parse_sha256(request->sha256, import.sha256, error);
    if (r >= 0)
        r = firmware_check_word(request->boot, error);
    if (r >= 0)
        r = check_machine(request, error);
    if (r >= 0)
        r = parse_format(request->format, &import.wanted, error);
    if (r >= 0 && request->fd < 0)
        r = open_source(request, &opened, error);
    if (r < 0)
        return r;
    if (opened >= 0)
        import.fd = opened;
    r = import_base(&import, error);
    if (r < 0)
        return r;
    (void)snprintf(info->digest, sizeof(info->digest), "%s", import.record.base);
    ImageInfo filled;
    r = fill_info(context, request, &import, &filled, error);
    if (r < 0)
        return r;
    filled.default_memory_bytes = DEFAULT_MEMORY_BYTES;
    filled.source = str_format("file %s", source_name(request));
    filled.reused = import.reused;
    *info = filled;
    return 0;
}
