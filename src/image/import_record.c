/* SPDX-License-Identifier: Apache-2.0 */
#include "image/import_record.h"

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

bool image_source_is_stable(const struct stat *st) {
    uint64_t changed =
        (uint64_t)st->st_ctim.tv_sec * USEC_PER_SEC + (uint64_t)st->st_ctim.tv_nsec / 1000;
    return changed + USEC_PER_SEC < clock_realtime_usec();
}

static char *record_folder(const char *home) {
    return path_join(home, "images/sources");
}

static void copy_text(const json_t *json, const char *member, char *text, size_t size) {
    (void)snprintf(text, size, "%s",
                   str_or_empty(json_string_value(json_object_get(json, member))));
}

static bool has_base(const char *home, const ImageRecord *record) {
    _cleanup_free_ char *path = base_path(home, record->base);
    return !strchr(record->base, '/') && access(path, R_OK) == 0;
}

int image_record_read(const char *home, const char *key, ImageRecord *record) {
    _cleanup_free_ char *folder = record_folder(home), *name = str_format("%s.json", key);
    _cleanup_free_ char *path = path_join(folder, name), *text = NULL;
    _cleanup_json_ json_t *json = NULL;
    ImageRecord found = {0};
    size_t size;
    if (fd_read_file_at(AT_FDCWD, path, 4 * KIB, &text, &size) < 0 ||
        json_parse(name, text, size, &json, NULL) < 0)
        return -ENOENT;
    copy_text(json, "base", found.base, sizeof(found.base));
    copy_text(json, "source_sha256", found.source_sha256, sizeof(found.source_sha256));
    if (!*found.base || !has_base(home, &found))
        return -ENOENT;
    *record = found;
    return 0;
}

static json_t *record_to_json(const ImageRecord *record) {
    return json_pack("{ss ss}", "base", record->base, "source_sha256", record->source_sha256);
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
