/* SPDX-License-Identifier: Apache-2.0 */

#include "storage/seeds.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/path.h"
#include "base/str.h"
#include "home/inside.h"
#include "store/disks/disk_uses.h"
#include "store/disks/seeds.h"

#define USERS_MAX 256
#define USERS_NAMED 4

/* ---- as JSON ---- */

static json_t *describe_users(Home *home, const char *digest) {
    DiskUser users[USERS_MAX];
    json_t *list = json_array();
    size_t count = 0;
    (void)disk_uses_list_of_base(home->store, digest, users, USERS_MAX, &count, NULL);
    for (size_t i = 0; i < count; i++)
        if (!users[i].automatic)
            (void)json_array_append_new(
                list, json_pack("{s:s, s:s}", "name", users[i].name, "state", users[i].state));
    return list;
}

static json_t *describe(Home *home, const SeedRow *row) {
    _cleanup_free_ char *created = clock_format_realtime(row->created_at_usec);
    _cleanup_free_ char *path = seed_base_path(home->path, row->digest);
    struct stat info = {0};
    json_t *seed;
    if (stat(path, &info) < 0)
        info.st_blocks = 0;
    seed = json_pack("{s:s, s:s, s:s, s:I, s:s, s:o}", "name", row->name, "digest", row->digest,
                     "path", path, "allocated_bytes", (json_int_t)info.st_blocks * 512,
                     "created_at", created, "users", describe_users(home, row->digest));
    (void)json_object_update_missing(seed, row->detail);
    return seed;
}

int seed_list(Home *home, json_t **list, Error *error) {
    SeedRow *rows;
    size_t count;
    int r = seeds_list(home->store, &rows, &count, error);
    if (r < 0)
        return r;
    *list = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(*list, describe(home, &rows[i]));
    seed_rows_free(rows, count);
    return 0;
}

int seed_inspect(Home *home, const char *reference, json_t **seed, Error *error) {
    _cleanup_seed_row_ SeedRow row = {0};
    int r = seeds_find(home->store, reference, &row, error);
    if (r >= 0)
        *seed = describe(home, &row);
    return r;
}

/* ---- making ---- */

static int check_folder(const char *folder, Error *error) {
    struct stat info;
    if (folder[0] != '/')
        return error_set(error, ERROR_USAGE, EINVAL, "%.100s is no absolute path", folder);
    if (stat(folder, &info) < 0)
        return error_set_errno(error, errno, "cannot read %s", folder);
    if (!S_ISDIR(info.st_mode))
        return error_set(error, ERROR_USAGE, ENOTDIR, "%s is no folder", folder);
    return 0;
}

typedef struct Filling {
    SeedBuild build;
    SeedResult *result; /* borrowed */
} Filling;

static int fill(void *data, const char *path, int fd, int cancel_fd, Error *error) {
    Filling *filling = data;
    filling->build.output_path = path;
    filling->build.cancel_fd = cancel_fd;
    return seed_from_folder(&filling->build, filling->result, error);
}

int seed_make_base(Home *home, Operation *operation, const char *folder, uint64_t size_bytes,
                   char base[BASE_ID_SIZE], SeedResult *result, Error *error) {
    Filling filling = {.build = {.folder = folder, .size_bytes = size_bytes}, .result = result};
    int r = check_folder(folder, error);
    if (r < 0)
        return r;
    operation_enter(operation, "seed"); /* the client may be at another descriptor after it */
    r = base_make(home, operation, fill, &filling, base, error);
    return r < 0 ? error_add_context(error, "cannot make a seed of %s", folder) : 0;
}

static json_t *make_detail(const char *folder, const SeedResult *result) {
    return json_pack("{s:s, s:I, s:I, s:I}", "source", folder, "virtual_bytes",
                     (json_int_t)result->virtual_bytes, "content_bytes",
                     (json_int_t)result->content_bytes, "entries", (json_int_t)result->entries);
}

/* The same content under the same name is success. */
static int put_row(Home *home, const SeedRow *row, bool replace, Error *error) {
    _cleanup_seed_row_ SeedRow there = {0};
    int r = seeds_get(home->store, row->name, &there, error);
    if (r < 0 || (r > 0 && str_equal(there.digest, row->digest)))
        return MIN_OF(r, 0);
    r = seeds_put(home->store, row, replace, error);
    if (r >= 0)
        home_event(home, "seed.created", NULL, row->name, row->detail);
    return r;
}

static int make_row(Home *home, Operation *operation, const SeedOptions *options, SeedRow *row,
                    Error *error) {
    SeedResult result = {0};
    char base[BASE_ID_SIZE];
    int r =
        seed_make_base(home, operation, options->folder, options->size_bytes, base, &result, error);
    if (r < 0)
        return r;
    *row = (SeedRow){.created_at_usec = clock_realtime_usec(),
                     .detail = make_detail(options->folder, &result)};
    str_set(row->name, options->name);
    str_set(row->digest, base);
    if (result.sockets > 0)
        operation_note(operation, "sockets are in it, at which nobody listens: %llu",
                       (unsigned long long)result.sockets);
    return put_row(home, row, options->replace, error);
}

int seed_create(Home *home, Operation *operation, const SeedOptions *options, json_t **seed,
                Error *error) {
    _cleanup_seed_row_ SeedRow row = {0};
    int r = name_check("seed", str_or_empty(options->name), error);
    if (r < 0)
        return r;
    bases_hold(home);
    r = make_row(home, operation, options, &row, error);
    bases_release(home);
    bases_collect(home); /* what a name was taken from, or was made in vain */
    stages_end(&operation->stages);
    return r < 0 ? r : seed_inspect(home, options->name, seed, error);
}

/* ---- removing ---- */

/* "VM web1, snapshot ready and 2 more"; "" when nobody is left. The caller owns it. */
static char *name_users(Home *home, const char *digest) {
    DiskUser users[USERS_MAX];
    size_t count = 0, named = 0, more = 0;
    char *text = str_copy("");
    (void)disk_uses_list_of_base(home->store, digest, users, USERS_MAX, &count, NULL);
    for (size_t i = 0; i < count; i++) {
        bool is_snapshot = str_has_suffix(users[i].state, "snapshot");
        if (users[i].automatic || (named == USERS_NAMED && ++more))
            continue;
        _cleanup_free_ char *before = text;
        text = str_format("%s%s%s %s", before, named++ > 0 ? ", " : "",
                          is_snapshot ? users[i].state : "VM", users[i].name);
    }
    if (more > 0) {
        _cleanup_free_ char *before = text;
        text = str_format("%s and %zu more", before, more);
    }
    return text;
}

/* As of images: with another name for the same content, its VMs have that one. */
static int check_unused(Home *home, const SeedRow *row, Error *error) {
    _cleanup_free_ char *users = NULL;
    uint64_t names;
    int r = seeds_count_digest(home->store, row->digest, &names, error);
    if (r < 0 || names > 1)
        return MIN_OF(r, 0);
    users = name_users(home, row->digest);
    if (*users == '\0')
        return 0;
    error_set(error, ERROR_CONFLICT, EBUSY, "seed %s is in use by %s", row->name, users);
    error_set_hint(error, "remove those first, or move the name with ramet seed create --replace");
    return -EBUSY;
}

int seed_remove(Home *home, const char *reference, Error *error) {
    _cleanup_seed_row_ SeedRow row = {0};
    int r = seeds_find(home->store, reference, &row, error);
    if (r >= 0)
        r = check_unused(home, &row, error);
    if (r >= 0)
        r = seeds_delete(home->store, row.name, error);
    if (r < 0)
        return r;
    home_event(home, "seed.removed", NULL, row.name, NULL);
    bases_collect(home);
    return 0;
}
