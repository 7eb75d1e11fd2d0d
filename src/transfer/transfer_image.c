/* SPDX-License-Identifier: Apache-2.0 */

/* Images. The disk and the kernel come in one stream, so both are written in one pass, wherever
 * they are not here already; the disk's digest is its name, and is known before. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "catalog/images.h"
#include "disk/base_file.h"
#include "home/admission.h"
#include "home/inside.h"
#include "home/mount.h"
#include "home/spec.h"
#include "proto/archive_format.h"
#include "store/images.h"
#include "transfer/transfer.h"
#include "transfer/transfer_config.h"
#include "transfer/transfer_disks.h"
#include "transfer/transfer_parts.h"

/* ---- going out ---- */

static json_t *describe(const ImageRow *row, const char *digest) {
    static const char *const KEPT[] = {"minimum_disk_bytes",
                                       "default_memory_bytes",
                                       "default_cpus",
                                       "init",
                                       "source",
                                       "config",
                                       "seeds"};
    json_t *json = json_pack("{s:s, s:s}", "name", row->name, "digest", digest);
    for (size_t i = 0; i < ARRAY_SIZE(KEPT); i++) {
        json_t *value = json_object_get(row->detail, KEPT[i]);
        if (value)
            (void)json_object_set_new(json, KEPT[i], json_incref(value));
    }
    return json;
}

static int add_seeds(Home *home, const ImageRow *row, ArchiveMembers *members, int cancel_fd,
                     Error *error) {
    const json_t *seeds = json_object_get(row->detail, "seeds"), *seed;
    char digest[TREE_DIGEST_SIZE];
    size_t i;
    int r = 0;
    json_array_foreach(seeds, i, seed) {
        const char *base = str_or_empty(json_string_value(json_object_get(seed, "digest")));
        if (r >= 0)
            r = transfer_base_add(home, members, i, base, true, cancel_fd, digest, error);
    }
    return r < 0 ? error_add_context(error, "its seeds") : 0;
}

/* Earlier versions would leave out what they know nothing of. */
static unsigned version_of(const ImageRow *row, const json_t *manifest) {
    return json_array_size(json_object_get(row->detail, "seeds")) > 0 ||
                   json_is_object(json_object_get(row->detail, "config")) ||
                   json_object_get(manifest, "firmware")
               ? ARCHIVE_VERSION
               : ARCHIVE_VERSION_PLAIN;
}

int image_export(Home *home, Operation *operation, const char *reference,
                 const ArchiveOutput *output, Error *error) {
    _cleanup_archive_members_ ArchiveMembers members = {0};
    _cleanup_json_ json_t *manifest = transfer_manifest("image");
    _cleanup_image_row_ ImageRow row = {0};
    _cleanup_free_ char *path = NULL;
    ArchiveOutput with = *output;
    const char *kernel;
    int r = images_find(home->store, reference, &row, error);
    if (r < 0)
        return r;
    operation_enter(operation, "plan");
    path = image_row_path(home, &row);
    kernel = str_or_empty(json_string_value(json_object_get(row.detail, "kernel_key")));
    r = transfer_add_base(&members, path, row.digest, operation->cancel_fd, error);
    if (r >= 0)
        r = archive_kernel_add(home->path, kernel, manifest, &members, operation->cancel_fd, error);
    if (r >= 0)
        r = add_seeds(home, &row, &members, operation->cancel_fd, error);
    if (r < 0)
        return error_add_context(error, "cannot export image %s", row.name);
    (void)json_object_set_new(manifest, "image", describe(&row, members.items[0].digest));
    operation_enter(operation, "write");
    with.version = version_of(&row, manifest);
    r = archive_write(&with, manifest, &members, error);
    return r < 0 ? error_add_context(error, "cannot export image %s", row.name) : 0;
}

/* ---- arriving ---- */

typedef struct Arrival {
    Operation *operation;  /* borrowed */
    Home *home;            /* borrowed */
    ArchiveReader *reader; /* borrowed */
    ArchiveKernel kernel;  /* owned */
    TransferBases bases;   /* owned */
    json_t *seeds;         /* owned: of the row; NULL: none */
    json_t *settings;      /* owned: the same */
    bool was_read;
} Arrival;

static void arrival_free(Arrival *arrival) {
    archive_kernel_free(&arrival->kernel);
    transfer_bases_end(&arrival->bases);
    json_decref(arrival->seeds);
    json_decref(arrival->settings);
}

/* The base that was here when the archive was looked at may have gone: it cannot be read twice. */
static int read_all(Arrival *arrival, Error *error) {
    int r;
    if (arrival->was_read)
        return error_set(error, ERROR_CONFLICT, EBUSY,
                         "its disk was removed while the archive was read; import it again");
    arrival->was_read = true;
    r = transfer_check_room(arrival->home, arrival->reader, error);
    if (r >= 0)
        r = transfer_run(arrival->reader, arrival->operation, error);
    if (r >= 0)
        r = archive_kernel_finish(&arrival->kernel, error);
    return r < 0 ? r : transfer_bases_finish(&arrival->bases, error);
}

static int write_disk(void *data, int fd, const char *path, Error *error) {
    Arrival *arrival = data;
    ArchiveMember *disk = archive_members_find(&arrival->reader->members, TRANSFER_BASE);
    int r = archive_member_want(disk, fd, error);
    (void)path;
    return r < 0 ? r : read_all(arrival, error);
}

static uint64_t number_of(const json_t *json, const char *key, uint64_t most) {
    uint64_t value = 0;
    return json_get_u64("image", json, key, &value, NULL) < 0 || value > most ? 0 : value;
}

static int find_source(const json_t *json, const char *absent, char **source, Error *error) {
    const char *text = json_string_value(json_object_get(json, "source"));
    *source = str_copy(text ? text : absent);
    for (char *p = *source; *p; p++)
        if ((unsigned char)*p < ' ')
            return archive_manifest_damaged(error, "its source");
    if (strlen(*source) > 255)
        (*source)[255] = '\0';
    return 0;
}

static int check_seed_path(const Arrival *arrival, const char *path, Error *error) {
    const json_t *seed;
    size_t i;
    if (vm_mount_path_check(path, NULL) < 0)
        return archive_manifest_damaged(error, "where a seed is mounted");
    json_array_foreach(arrival->seeds, i, seed) {
        if (str_equal(json_string_value(json_object_get(seed, "path")), path))
            return archive_manifest_damaged(error, "two seeds at one place");
    }
    return 0;
}

static int begin_seed(Arrival *arrival, const json_t *json, Error *error) {
    const char *path = str_or_empty(json_string_value(json_object_get(json, "path")));
    const char *digest = str_or_empty(json_string_value(json_object_get(json, "digest")));
    _cleanup_free_ char *source = NULL;
    int r = check_seed_path(arrival, path, error);
    if (r >= 0)
        r = find_source(json, "an archive", &source, error);
    if (r >= 0)
        r = transfer_bases_want(&arrival->bases, arrival->reader, digest,
                                arrival->operation->cancel_fd, error);
    if (r < 0)
        return r;
    (void)json_array_append_new(
        arrival->seeds,
        json_pack("{s:s, s:s, s:s, s:I}", "path", path, "digest", digest, "source", source,
                  "virtual_bytes",
                  (json_int_t)arrival->bases.items[arrival->bases.count - 1].bytes));
    return 0;
}

static int begin_seeds(Arrival *arrival, const json_t *image, Error *error) {
    const json_t *list = json_object_get(image, "seeds"), *one;
    size_t i;
    int r = 0;
    if (json_array_size(list) == 0)
        return 0;
    arrival->seeds = json_array();
    json_array_foreach(list, i, one) {
        if (r >= 0)
            r = begin_seed(arrival, one, error);
    }
    return r;
}

/* The disk that is here already is not written again, but the archive is read: for its kernel, and
 * since one that is damaged is told of. */
static int adopt(Arrival *arrival, const ArchiveImport *import, json_t **image, Error *error) {
    const json_t *json = json_object_get(arrival->reader->manifest, "image");
    const char *name = json_string_value(json_object_get(json, "name"));
    const ArchiveMember *disk = archive_members_find(&arrival->reader->members, TRANSFER_BASE);
    _cleanup_free_ char *source = NULL, *path = NULL;
    ImageAdoptRequest request = {
        .name = import->name ? import->name : str_or_empty(name),
        .kernel_key = arrival->kernel.key,
        .digest = disk->digest,
        .checked = true,
        .minimum_disk_bytes = number_of(json, "minimum_disk_bytes", (uint64_t)1 << 50),
        .default_memory_bytes = number_of(json, "default_memory_bytes", (uint64_t)1 << 42),
        .default_cpus = (unsigned)number_of(json, "default_cpus", VM_CPUS_MAX),
        .init = image_init_from_name(json_string_value(json_object_get(json, "init"))),
        .settings = arrival->settings,
        .seeds = arrival->seeds,
        .write = write_disk,
        .data = arrival};
    int r = name_check("image", request.name, error);
    if (r >= 0)
        r = find_source(json, "an archive", &source, error);
    if (r < 0)
        return r;
    request.source = import->source ? import->source : source;
    if (request.minimum_disk_bytes < disk->file.bytes)
        request.minimum_disk_bytes = 0;
    path = base_path(arrival->home->path, disk->digest);
    if (access(path, R_OK) == 0)
        r = read_all(arrival, error);
    return r < 0 ? r
                 : catalog_adopt_image(arrival->home, arrival->operation, &request, import->replace,
                                       "image.imported", image, error);
}

int archive_import_image(Home *home, Operation *operation, const ArchiveImport *import,
                         json_t **answer, Error *error) {
    _cleanup_archive_reader_ ArchiveReader reader = {0};
    _cleanup_(arrival_free)
        Arrival arrival = {.operation = operation, .home = home, .reader = &reader};
    const json_t *image;
    int r;
    transfer_bases_begin(home, &arrival.bases);
    operation_enter(operation, "plan");
    r = transfer_open(&reader, import->fd, "image", error);
    if (r >= 0 && !archive_members_find(&reader.members, TRANSFER_BASE))
        r = error_set(error, ERROR_CORRUPT, EBADMSG, "the archive has no disk");
    if (r >= 0)
        r = admission_check_disk(home, error);
    if (r >= 0)
        r = archive_kernel_begin(home->path, &reader, operation->cancel_fd, &arrival.kernel, error);
    image = json_object_get(reader.manifest, "image");
    if (r >= 0)
        r = begin_seeds(&arrival, image, error);
    if (r >= 0)
        r = transfer_config_read(json_object_get(image, "config"), &arrival.settings, error);
    if (r >= 0)
        r = adopt(&arrival, import, answer, error);
    if (r >= 0 && json_is_string(json_object_get(arrival.settings, "ready")))
        operation_note(operation, "the image starts warm from its first VM here on: that one boots "
                                  "and starts its program, whose memory is in no archive");
    return r < 0 ? error_add_context(error, "cannot import the image") : 0;
}
