/* SPDX-License-Identifier: Apache-2.0 */
#include "image/record.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"

#define RECORD_FORMAT 1

void image_source_key(const struct stat *st, char key[SHA256_HEX_SIZE]) {
    _cleanup_free_ char *text = str_format(
        "ramet source %d\n%ju %ju %jd %jd.%09ld %jd.%09ld\n", RECORD_FORMAT, (uintmax_t)st->st_dev,
        (uintmax_t)st->st_ino, (intmax_t)st->st_size, (intmax_t)st->st_mtim.tv_sec,
        st->st_mtim.tv_nsec, (intmax_t)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
    sha256_data(text, strlen(text), key);
}

bool image_source_is_settled(const struct stat *st) {
    uint64_t changed =
        (uint64_t)st->st_ctim.tv_sec * USEC_PER_SEC + (uint64_t)st->st_ctim.tv_nsec / 1000;
    return changed + USEC_PER_SEC < clock_realtime_usec();
}

static char *record_folder(const char *home) {
    return path_join(home, "images/sources");
}

static int copy_digest(const json_t *json, const char *member, char hex[SHA256_HEX_SIZE]) {
    uint8_t digest[SHA256_SIZE];
    const char *text = json_string_value(json_object_get(json, member));
    if (!text || hex_decode(text, digest, sizeof(digest)) < 0)
        return -EBADMSG;
    memcpy(hex, text, SHA256_HEX_SIZE);
    return 0;
}

void image_record_base(const ImageRecord *record, char id[BASE_ID_SIZE]) {
    if (*record->digest)
        base_id_from_digest(record->digest, id);
    else
        base_id_from_source(record->source_sha256, id);
}

static bool has_base(const char *home, const ImageRecord *record) {
    char id[BASE_ID_SIZE];
    image_record_base(record, id);
    _cleanup_free_ char *path = base_id_path(home, id);
    return access(path, R_OK) == 0;
}

static int load(const char *home, const char *key, ImageRecord *record) {
    _cleanup_free_ char *folder = record_folder(home), *name = str_format("%s.json", key);
    _cleanup_free_ char *path = path_join(folder, name), *text = NULL;
    size_t size;
    if (fd_read_file_at(AT_FDCWD, path, 4 * KIB, &text, &size) < 0)
        return -ENOENT;
    _cleanup_json_ json_t *json = NULL;
    ImageRecord found = {0};
    if (json_parse(name, text, size, &json, NULL) < 0)
        return -ENOENT;
    bool hashed = copy_digest(json, "digest", found.digest) == 0;
    bool sourced = copy_digest(json, "source_sha256", found.source_sha256) == 0;
    if (!hashed && !sourced)
        return -ENOENT;
    *record = found;
    return 0;
}

int image_record_read(const char *home, const char *key, ImageRecord *record) {
    ImageRecord found, later;
    if (load(home, key, &found) < 0)
        return -ENOENT;
    if (!*found.digest && load(home, found.source_sha256, &later) == 0 && has_base(home, &later))
        found = later; /* it is known since */
    if (!has_base(home, &found))
        return -ENOENT;
    *record = found;
    return 0;
}

static json_t *record_to_json(const ImageRecord *record) {
    const char *digest = *record->digest ? record->digest : NULL;
    return json_pack("{ss* ss}", "digest", digest, "source_sha256", record->source_sha256);
}

void image_record_write(const char *home, const char *key, const ImageRecord *record) {
    _cleanup_free_ char *folder = record_folder(home), *name = str_format("%s.json", key);
    _cleanup_json_ json_t *json = record_to_json(record);
    if (!json || path_make_folders(folder, 0755) < 0)
        return;
    _cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_free_ char *text = json_to_text(json);
    if (fd >= 0)
        (void)path_write_atomic_at(fd, name, text, strlen(text), 0644);
}
