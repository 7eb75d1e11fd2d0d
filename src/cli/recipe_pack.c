/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/recipe_pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "cli/beside_file.h"
#include "cli/image_args.h"
#include "cli/tar_helper.h"
#include "proto/agent.h"

#define PIECE_BYTES (64 * 1024)

static const char *text_of(const json_t *object, const char *key) {
    return str_or_empty(json_string_value(json_object_get(object, key)));
}

/* In front of what is wrong with a step. */
static int at_line(const json_t *recipe, const json_t *step, const char *what, Error *error) {
    return error_add_context(error, "%s:%lld: %s", text_of(recipe, "file"),
                             (long long)json_integer_value(json_object_get(step, "line")), what);
}

static int move_all(int from, int to, uint64_t *bytes, Error *error) {
    _cleanup_free_ char *piece = malloc(PIECE_BYTES);
    ssize_t n;
    int r = 0;
    if (!piece)
        abort();
    while (r >= 0 && (n = read(from, piece, PIECE_BYTES)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        r = n < 0 ? -errno : fd_write_full(to, piece, (size_t)n);
        *bytes += n > 0 ? (uint64_t)n : 0;
    }
    return r < 0 ? error_set_errno(error, -r, "cannot keep the archive") : 0;
}

static int add_archive(const char *path, int fd, uint64_t *bytes, Error *error) {
    _cleanup_error_ Error moving = ERROR_INIT;
    TarHelper helper = TAR_HELPER_INIT;
    int moved, r = tar_helper_start("create", 0, path, &helper, error);
    if (r < 0)
        return r;
    moved = move_all(helper.pipe, fd, bytes, &moving);
    r = tar_helper_finish(&helper, error);
    if (moved < 0) { /* it only saw its pipe break */
        error_clear(error);
        return error_move(error, &moving);
    }
    return r;
}

static int add_copy(const json_t *recipe, json_t *step, int fd, Error *error) {
    const char *from = text_of(step, "from");
    _cleanup_free_ char *path = NULL;
    uint64_t bytes = 0;
    int r = beside_file("recipe", text_of(recipe, "file"), from, &path, error);
    if (r >= 0)
        r = add_archive(path, fd, &bytes, error);
    if (r < 0)
        return at_line(recipe, step, "copy", error);
    json_object_set_new(step, "bytes", json_integer((json_int_t)bytes));
    if (str_has_suffix(text_of(step, "path"), "/"))
        json_object_set_new(step, "flags", json_integer(COPY_INTO_FOLDER));
    return 0;
}

/* The daemon reads the folder itself, and so it becomes absolute. */
static int find_seed(const json_t *recipe, json_t *seed, Error *error) {
    _cleanup_free_ char *path = NULL, *absolute = NULL;
    int r = beside_file("recipe", text_of(recipe, "file"), text_of(seed, "from"), &path, error);
    if (r >= 0)
        r = image_args_path(path, &absolute, error);
    if (r < 0)
        return at_line(recipe, seed, "seed", error);
    json_object_set_new(seed, "from", json_string(absolute));
    return 0;
}

/* A file without a name, which no crash leaves behind. */
static int open_scratch(int *fd, Error *error) {
    const char *folder = getenv("TMPDIR");
    *fd = open(folder && *folder ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return *fd < 0 ? error_set_errno(error, errno, "cannot make a file for the recipe's archives")
                   : 0;
}

int recipe_pack(json_t *recipe, int *fd, uint64_t *json_bytes, Error *error) {
    _cleanup_close_ int scratch = -1;
    _cleanup_free_ char *text = NULL;
    json_t *step, *seed;
    size_t i;
    int r = open_scratch(&scratch, error);
    json_array_foreach(json_object_get(recipe, "seeds"), i, seed) {
        if (r >= 0)
            r = find_seed(recipe, seed, error);
    }
    json_array_foreach(json_object_get(recipe, "steps"), i, step) {
        if (r >= 0 && json_object_get(step, "from"))
            r = add_copy(recipe, step, scratch, error);
    }
    if (r < 0)
        return r;
    text = json_to_text(recipe);
    *json_bytes = strlen(text);
    r = fd_write_full(scratch, text, strlen(text));
    if (r < 0 || lseek(scratch, 0, SEEK_SET) < 0)
        return error_set_errno(error, r < 0 ? -r : errno, "cannot keep the recipe");
    *fd = TAKE_FD(scratch);
    return 0;
}
