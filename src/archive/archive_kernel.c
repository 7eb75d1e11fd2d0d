/* SPDX-License-Identifier: Apache-2.0 */

#include "archive/archive_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "image/firmware.h"
#include "image/kernel_bundle.h"

#define MEMBER "kernel"
#define LOAD_MAX 256

void archive_kernel_free(ArchiveKernel *kernel) {
    json_decref(kernel->json);
    publish_free(kernel->publish);
    *kernel = (ArchiveKernel){0};
}

/* ---- going out ---- */

static int by_name(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int compare_parts(const void *a, const void *b) {
    return strcmp(((const ArchivePart *)a)->path, ((const ArchivePart *)b)->path);
}

/* In the order of their whole paths, which is not that of a walk through folders. */
static void sort_parts(ArchiveFile *file) {
    uint64_t start = 0;
    qsort(file->parts, file->n_parts, sizeof(*file->parts), compare_parts);
    for (size_t i = 0; i < file->n_parts; i++) {
        file->parts[i].start = start;
        start += file->parts[i].bytes;
    }
}

static int list_files(const char *folder, ArchiveFile *file, Error *error) {
    char *const roots[] = {(char *)(uintptr_t)folder, NULL};
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    FTSENT *entry;
    if (!fts)
        return error_set_errno(error, errno, "cannot read %s", folder);
    while ((entry = fts_read(fts))) {
        const char *path = entry->fts_path + strlen(folder) + 1;
        if (entry->fts_info == FTS_F && !str_equal(path, "kernel.json"))
            archive_file_add(file, path, (uint64_t)entry->fts_statp->st_size);
    }
    (void)fts_close(fts);
    sort_parts(file);
    file->fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return file->fd < 0 ? error_set_errno(error, errno, "cannot open %s", folder) : 0;
}

static json_t *describe(const KernelBundle *bundle) {
    json_t *load = json_array();
    for (size_t i = 0; i < bundle->load.count; i++)
        (void)json_array_append_new(load, json_string(bundle->load.items[i]));
    return json_pack("{s:s, s:s, s:b, s:b, s:o}", "key", bundle->key, "version", bundle->version,
                     "bzimage", bundle->bzimage != NULL, "modules", bundle->modules != NULL, "load",
                     load);
}

int archive_kernel_add(const char *home, const char *key, json_t *manifest, ArchiveMembers *members,
                       int cancel_fd, Error *error) {
    _cleanup_kernel_bundle_ KernelBundle bundle = {0};
    _cleanup_archive_file_ ArchiveFile file = ARCHIVE_FILE_INIT;
    if (firmware_is(key)) {
        (void)json_object_set_new(manifest, "firmware", json_string(key));
        return 0;
    }
    int r = kernel_bundle_open(home, key, &bundle, error);
    if (r >= 0)
        r = list_files(bundle.folder, &file, error);
    if (r < 0)
        return r;
    (void)json_object_set_new(manifest, "kernel", describe(&bundle));
    return archive_members_add_file(members, MEMBER, &file, cancel_fd, error);
}

/* ---- arriving ---- */

static int bad(Error *error, const char *why) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "the archive's kernel is damaged: %s", why);
}

static bool is_load_list(const json_t *load) {
    const json_t *one;
    size_t i;
    if (!json_is_array(load) || json_array_size(load) > LOAD_MAX)
        return false;
    json_array_foreach(load, i,
                       one) if (!json_is_string(one) ||
                                !archive_path_is_safe(json_string_value(one))) return false;
    return true;
}

static bool has_part(const ArchiveFile *file, const char *path) {
    for (size_t i = 0; i < file->n_parts; i++)
        if (str_equal(file->parts[i].path, path))
            return true;
    return false;
}

/* Nothing but a kernel and its modules. */
static int check_files(const ArchiveFile *file, const char *version, bool bzimage, Error *error) {
    _cleanup_free_ char *modules = str_format("lib/modules/%s/", version);
    for (size_t i = 0; i < file->n_parts; i++) {
        const char *path = file->parts[i].path;
        if (!str_equal(path, "vmlinux") && !str_equal(path, "bzimage") &&
            !str_has_prefix(path, modules))
            return bad(error, "a file that is no part of one");
    }
    return has_part(file, "vmlinux") && has_part(file, "bzimage") == bzimage
               ? 0
               : bad(error, "a file is missing");
}

static int check_json(const json_t *json, const ArchiveMember *member, Error *error) {
    const char *version;
    bool bzimage = false, modules = false;
    if (!member || member->file.n_parts == 0 ||
        json_get_string("kernel", json, "version", &version, NULL) < 0 ||
        json_opt_bool("kernel", json, "bzimage", &bzimage, NULL) < 0 ||
        json_opt_bool("kernel", json, "modules", &modules, NULL) < 0 ||
        !kernel_version_is_valid(version) || !is_load_list(json_object_get(json, "load")))
        return bad(error, "what its manifest says");
    return check_files(&member->file, version, bzimage, error);
}

/* A key of its own: of all that it will consist of. */
static void name_by_content(ArchiveKernel *kernel, const json_t *json,
                            const ArchiveMember *member) {
    _cleanup_free_ char *text = NULL;
    StrBuf names = {0};
    kernel->json =
        json_pack("{s:i, s:s, s:O, s:s, s:O, s:O, s:O}", "format", KERNEL_BUNDLE_FORMAT, "key", "",
                  "version", json_object_get(json, "version"), "source", "an archive", "bzimage",
                  json_object_get(json, "bzimage"), "modules", json_object_get(json, "modules"),
                  "load", json_object_get(json, "load"));
    (void)json_object_set_new(kernel->json, "archive_digest", json_string(member->digest));
    text = json_to_text(kernel->json);
    strbuf_add_format(&names, "%s\n%s\n", text, member->digest);
    for (size_t i = 0; i < member->file.n_parts; i++)
        strbuf_add_format(&names, "%llu %s\n", (unsigned long long)member->file.parts[i].bytes,
                          member->file.parts[i].path);
    sha256_data(names.data, names.size, kernel->key);
    strbuf_free(&names);
    (void)json_object_set_new(kernel->json, "key", json_string(kernel->key));
}

static bool same_files(const ArchiveFile *a, const ArchiveFile *b) {
    if (a->n_parts != b->n_parts)
        return false;
    for (size_t i = 0; i < a->n_parts; i++)
        if (a->parts[i].bytes != b->parts[i].bytes ||
            !str_equal(a->parts[i].path, b->parts[i].path))
            return false;
    return true;
}

/* Is the bundle of that key here, and the same? */
static bool is_here(const char *home, const char *key, const ArchiveMember *member,
                    const json_t *json, int cancel_fd) {
    _cleanup_kernel_bundle_ KernelBundle bundle = {0};
    _cleanup_archive_file_ ArchiveFile file = ARCHIVE_FILE_INIT;
    _cleanup_json_ json_t *own = NULL;
    char digest[TREE_DIGEST_SIZE];
    if (!key || kernel_bundle_open(home, key, &bundle, NULL) < 0)
        return false;
    own = describe(&bundle);
    return json_equal(json_object_get(own, "load"), json_object_get(json, "load")) &&
           json_equal(json_object_get(own, "version"), json_object_get(json, "version")) &&
           list_files(bundle.folder, &file, NULL) >= 0 && same_files(&file, &member->file) &&
           archive_file_digest(&file, cancel_fd, digest, NULL) >= 0 &&
           str_equal(digest, member->digest);
}

static int begin_publish(const char *home, int cancel_fd, ArchiveMember *member,
                         ArchiveKernel *kernel, Error *error) {
    const PublishOptions options = {.home = home,
                                    .kind = "kernels",
                                    .name = kernel->key,
                                    .folder = true,
                                    .cancel_fd = cancel_fd};
    bool exists = false;
    int r = publish_begin(&options, &kernel->publish, &exists, error);
    if (r < 0 || exists) {
        json_decref(kernel->json);
        kernel->json = NULL;
        return r;
    }
    return archive_member_want(member, publish_scratch_fd(kernel->publish), error);
}

bool archive_kernel_is_here(const char *home, const json_t *manifest, ArchiveMembers *members,
                            int cancel_fd) {
    const json_t *json = json_object_get(manifest, "kernel");
    ArchiveMember *member = archive_members_find(members, MEMBER);
    _cleanup_archive_kernel_ ArchiveKernel kernel = {0};
    _cleanup_free_ char *path = NULL;
    if (check_json(json, member, NULL) < 0)
        return false;
    if (is_here(home, json_string_value(json_object_get(json, "key")), member, json, cancel_fd))
        return true;
    name_by_content(&kernel, json, member);
    path = str_format("%s/kernels/%s/kernel.json", home, kernel.key);
    return access(path, R_OK) == 0;
}

bool archive_kernel_is_told(const json_t *manifest) {
    return json_object_get(manifest, "kernel") || json_object_get(manifest, "firmware");
}

static int take_firmware(const json_t *firmware, const ArchiveMember *member, ArchiveKernel *kernel,
                         Error *error) {
    const char *word = json_string_value(firmware);
    if (!firmware_is(word) || member)
        return archive_manifest_damaged(error, "what boots it");
    str_set(kernel->key, word);
    return 0;
}

int archive_kernel_begin(const char *home, ArchiveReader *reader, int cancel_fd,
                         ArchiveKernel *kernel, Error *error) {
    const json_t *json = json_object_get(reader->manifest, "kernel");
    const json_t *firmware = json_object_get(reader->manifest, "firmware");
    ArchiveMember *member = archive_members_find(&reader->members, MEMBER);
    const char *key = json_string_value(json_object_get(json, "key"));
    if (firmware)
        return take_firmware(firmware, member, kernel, error);
    int r = check_json(json, member, error);
    if (r < 0)
        return r;
    if (is_here(home, key, member, json, cancel_fd)) {
        str_set(kernel->key, key);
        return 0;
    }
    name_by_content(kernel, json, member);
    return begin_publish(home, cancel_fd, member, kernel, error);
}

int archive_kernel_finish(ArchiveKernel *kernel, Error *error) {
    _cleanup_free_ char *text = NULL;
    int r;
    if (!kernel->publish)
        return 0;
    text = json_to_text(kernel->json);
    r = path_write_atomic_at(publish_scratch_fd(kernel->publish), "kernel.json", text, strlen(text),
                             0644);
    if (r < 0)
        return error_set_errno(error, -r, "cannot write kernel.json");
    return publish_commit(kernel->publish, error);
}
