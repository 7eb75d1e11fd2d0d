/* SPDX-License-Identifier: Apache-2.0 */

#include "store/open.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "check.h"
#include "store/events.h"
#include "store/images.h"
#include "store/meta.h"
#include "store/vms.h"

static char folder[] = "/tmp/ramet-test-store-XXXXXX";

static char *file(const char *name) {
    return path_join(folder, name);
}

static Store *open_store(const char *name) {
    _cleanup_free_ char *path = file(name);
    _cleanup_error_ Error error = ERROR_INIT;
    Store *store = NULL;
    if (store_open(path, &store, &error) < 0)
        fprintf(stderr, "%s\n", error_message(&error));
    CHECK(store);
    return store;
}

static void sql(const char *name, const char *text) {
    _cleanup_free_ char *path = file(name);
    sqlite3 *db = NULL;
    CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(db);
}

static void fill_vm(VmRow *row, const char *id, const char *name, const char *mac, uint32_t uid) {
    *row = (VmRow){.state = STATE_CREATED, .uid = uid, .created_at_usec = 1000, .remove = true};
    (void)snprintf(row->id, sizeof(row->id), "%s", id);
    (void)snprintf(row->name, sizeof(row->name), "%s", name);
    (void)snprintf(row->mac, sizeof(row->mac), "%s", mac);
    (void)snprintf(row->image_digest, sizeof(row->image_digest), "sha256:%064d", 7);
    row->spec.cpus = 2;
}

static int add_vm(Store *store, const char *id, const char *name, const char *mac, uint32_t uid,
                  Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    fill_vm(&row, id, name, mac, uid);
    return vms_insert(store, &row, error);
}

#define ID_A "aaaa0000000000000000000000000001"
#define ID_B "aaaa1000000000000000000000000002"

/* What it has to note on a full disk finds room. */
static void test_reserve(void) {
    _cleanup_(store_close_p) Store *store = open_store("reserve.db");
    _cleanup_free_ char *path = file("reserve.db-wal");
    struct stat log;
    CHECK(store != NULL);
    CHECK_INT(stat(path, &log), 0);
    CHECK(log.st_size < 4 << 20);
    CHECK((uint64_t)log.st_blocks * 512 >= 4 << 20);
}

static void test_vms_round_trip(void) {
    _cleanup_(store_close_p) Store *store = open_store("round.db");
    _cleanup_vm_row_ VmRow row = {0}, found = {0};
    fill_vm(&row, ID_A, "web", "52:54:00:00:00:01", 600000000);
    CHECK_INT(vms_insert(store, &row, NULL), 0);
    str_set(row.runtime.boot, "cold");
    row.state = STATE_RUNNING;
    CHECK_INT(vms_update(store, &row, NULL), 0);
    CHECK_INT(vms_get(store, ID_A, &found, NULL), 0);
    CHECK_STR(found.name, "web");
    CHECK_INT(found.state, STATE_RUNNING);
    CHECK_STR(found.mac, "52:54:00:00:00:01");
    CHECK_INT(found.uid, 600000000);
    CHECK(found.remove && !found.attached);
    CHECK_INT(found.spec.cpus, 2);
    CHECK_STR(found.runtime.boot, "cold");
    CHECK_INT(vms_delete(store, ID_A, NULL), 0);
    CHECK_INT(vms_delete(store, ID_A, NULL), 0);
    CHECK_INT(vms_update(store, &row, NULL), -ENOENT);
}

/* What a later version put into a specification is there after an update by this one. */
static void test_vms_keep_unknown(void) {
    _cleanup_(store_close_p) Store *store = open_store("unknown.db");
    _cleanup_vm_row_ VmRow row = {0}, found = {0}, again = {0};
    fill_vm(&row, ID_A, "web", "52:54:00:00:00:01", 1);
    row.spec.unknown = json_pack("{s:{s:i}}", "later", "a", 7);
    CHECK_INT(vms_insert(store, &row, NULL), 0);
    CHECK_INT(vms_get(store, ID_A, &found, NULL), 0);
    str_set(found.spec.hostname, "other");
    CHECK_INT(vms_update(store, &found, NULL), 0);
    CHECK_INT(vms_get(store, ID_A, &again, NULL), 0);
    CHECK_STR(again.spec.hostname, "other");
    CHECK(json_equal(again.spec.unknown, row.spec.unknown));
}

/* Who looked at a warm clone before it was claimed cannot make it warm again. */
static void test_vms_claim(void) {
    _cleanup_(store_close_p) Store *store = open_store("claim.db");
    _cleanup_vm_row_ VmRow warm = {0}, claimed = {0}, again = {0};
    fill_vm(&warm, ID_A, "pool-1", "52:54:00:00:00:01", 1);
    warm.state = STATE_WARM;
    (void)snprintf(warm.snapshot, sizeof(warm.snapshot), "s");
    CHECK_INT(vms_insert(store, &warm, NULL), 0);
    CHECK_INT(vms_claim_warm(store, "s", "web", "image", &claimed, NULL), 1);
    CHECK_STR(claimed.name, "web");
    CHECK_INT(vms_update(store, &warm, NULL), -ENOENT);
    CHECK_INT(vms_claim_warm(store, "s", "other", "image", &again, NULL), 0);
    CHECK_INT(vms_update(store, &claimed, NULL), 0);
}

static void test_vms_release_warm(void) {
    _cleanup_(store_close_p) Store *store = open_store("release.db");
    _cleanup_vm_row_ VmRow warm = {0}, claimed = {0}, now = {0}, again = {0};
    fill_vm(&warm, ID_A, "pool-1", "52:54:00:00:00:01", 1);
    warm.state = STATE_WARM;
    (void)snprintf(warm.snapshot, sizeof(warm.snapshot), "s");
    CHECK_INT(vms_insert(store, &warm, NULL), 0);
    CHECK_INT(vms_claim_warm(store, "s", "web", "image", &claimed, NULL), 1);
    CHECK_INT(vms_release_warm(store, ID_A, NULL), 0);
    CHECK_INT(vms_get(store, ID_A, &now, NULL), 0);
    CHECK_INT(now.state, STATE_WARM);
    CHECK(!str_equal(now.name, "web")); /* it is free again */
    CHECK_INT(vms_claim_warm(store, "s", "web", "image", &again, NULL), 1);
    again.state = STATE_REMOVING;
    CHECK_INT(vms_update(store, &again, NULL), 0);
    CHECK_INT(vms_release_warm(store, ID_A, NULL), 0);
    vm_row_free(&now);
    CHECK_INT(vms_get(store, ID_A, &now, NULL), 0);
    CHECK_INT(now.state, STATE_REMOVING); /* who removes it goes on */
}

static void test_vms_conflicts(void) {
    _cleanup_(store_close_p) Store *store = open_store("conflicts.db");
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(add_vm(store, ID_A, "web", "52:54:00:00:00:01", 5, &error), 0);
    CHECK_INT(add_vm(store, ID_B, "web", "52:54:00:00:00:02", 6, &error), -EEXIST);
    CHECK_INT(error.kind, ERROR_CONFLICT);
    CHECK_CONTAINS(error_message(&error), "there is a VM web already");
    CHECK_INT(add_vm(store, ID_B, "db", "52:54:00:00:00:01", 6, &error), -EAGAIN);
    CHECK_INT(add_vm(store, ID_B, "db", "52:54:00:00:00:02", 5, &error), -EAGAIN);
    CHECK_INT(add_vm(store, ID_B, "db", "52:54:00:00:00:02", 0, &error), 0);
    CHECK_INT(add_vm(store, "bbbb", "db2", "52:54:00:00:00:03", 0, &error), 0);
}

static void test_vms_find(void) {
    _cleanup_(store_close_p) Store *store = open_store("find.db");
    _cleanup_error_ Error error = ERROR_INIT;
    VmRow row = {0};
    CHECK_INT(add_vm(store, ID_A, "web", "52:54:00:00:00:01", 0, &error), 0);
    CHECK_INT(add_vm(store, ID_B, "aaaa1", "52:54:00:00:00:02", 0, &error), 0);
    CHECK_INT(vms_find(store, "aaaa0", &row, &error), 0);
    CHECK_STR(row.name, "web");
    vm_row_free(&row);
    CHECK_INT(vms_find(store, "aaaa1", &row, &error), 0); /* a name goes before an id */
    CHECK_STR(row.id, ID_B);
    vm_row_free(&row);
    CHECK_INT(vms_find(store, "aaaa", &row, &error), -EEXIST);
    CHECK_CONTAINS(error_message(&error), "fits several");
    CHECK_INT(vms_find(store, "aaa", &row, &error), -ENOENT);
    CHECK_INT(vms_find(store, "*", &row, &error), -ENOENT);
    CHECK_INT(vms_find(store, "' OR 1=1 --", &row, &error), -ENOENT);
    CHECK_INT(error.kind, ERROR_NOT_FOUND);
}

static void test_vms_pick_uid(void) {
    _cleanup_(store_close_p) Store *store = open_store("uid.db");
    _cleanup_error_ Error error = ERROR_INIT;
    uint32_t uid = 0;
    CHECK_INT(vms_pick_uid(store, 1000, 3, &uid, &error), 0);
    CHECK_INT(uid, 1000);
    CHECK_INT(add_vm(store, ID_A, "a", "52:54:00:00:00:01", 1000, &error), 0);
    CHECK_INT(add_vm(store, ID_B, "b", "52:54:00:00:00:02", 1002, &error), 0);
    CHECK_INT(vms_pick_uid(store, 1000, 3, &uid, &error), 0);
    CHECK_INT(uid, 1001);
    CHECK_INT(add_vm(store, "c", "c", "52:54:00:00:00:03", 1001, &error), 0);
    CHECK_INT(vms_pick_uid(store, 1000, 3, &uid, &error), -EUSERS);
    CHECK_INT(vms_pick_uid(store, 1001, 3, &uid, &error), 0);
    CHECK_INT(uid, 1003);
}

static void test_images(void) {
    _cleanup_(store_close_p) Store *store = open_store("images.db");
    _cleanup_error_ Error error = ERROR_INIT;
    ImageRow one = {.name = "one", .created_at_usec = 5}, two = {.name = "two"}, found = {0};
    ImageRow *rows = NULL;
    char id[IMAGE_ID_SIZE];
    size_t count;
    (void)snprintf(one.digest, sizeof(one.digest), "sha256:abcdef%058d", 1);
    (void)snprintf(two.digest, sizeof(two.digest), "sha256:abcdef%058d", 2);
    CHECK_INT(images_insert(store, &one, &error), 0);
    CHECK_INT(images_insert(store, &two, &error), 0);
    CHECK_INT(images_insert(store, &two, &error), -EEXIST);
    CHECK_INT(images_find(store, "one", &found, &error), 0);
    CHECK_INT(found.created_at_usec, 5);
    CHECK_INT(images_find(store, one.digest, &found, &error), 0);
    image_row_id(&one, id);
    CHECK_INT(images_find(store, id, &found, &error), 0);
    CHECK_STR(found.name, "one");
    id[0] = id[0] == 'a' ? 'b' : 'a';
    CHECK_INT(images_find(store, id, &found, &error), -ENOENT);
    CHECK_INT(images_find(store, "abcdef", &found, &error), -EEXIST);
    CHECK_INT(images_find(store, "three", &found, &error), -ENOENT);
    CHECK_INT(images_list(store, &rows, &count, &error), 0);
    CHECK_INT(count, 2);
    image_rows_free(rows, count);
    CHECK_INT(images_count_digest(store, one.digest, &count, &error), 0);
    CHECK_INT(count, 1);
    CHECK_INT(images_delete(store, "one", &error), 0);
    CHECK_INT(images_delete(store, "one", &error), -ENOENT);
}

static void test_another_digest(void) {
    _cleanup_(store_close_p) Store *store = open_store("later.db");
    _cleanup_image_row_ ImageRow image = {.name = "late", .digest = "src:aa"}, found = {0};
    _cleanup_vm_row_ VmRow row = {0}, other = {0};
    CHECK_INT(images_insert(store, &image, NULL), 0);
    fill_vm(&row, ID_A, "web", "52:54:00:00:00:01", 1);
    (void)snprintf(row.image_digest, sizeof(row.image_digest), "src:aa");
    CHECK_INT(vms_insert(store, &row, NULL), 0);
    CHECK_INT(add_vm(store, ID_B, "db", "52:54:00:00:00:02", 2, NULL), 0);
    CHECK_INT(images_replace_digest(store, "src:aa", "sha256:bb", NULL), 0);
    CHECK_INT(images_get(store, "late", &found, NULL), 1);
    CHECK_STR(found.digest, "sha256:bb");
    vm_row_free(&row);
    CHECK_INT(vms_get(store, ID_A, &row, NULL), 0);
    CHECK_STR(row.image_digest, "sha256:bb");
    CHECK_INT(vms_get(store, ID_B, &other, NULL), 0);
    CHECK(!strstr(other.image_digest, "bb"));
}

static void test_events(void) {
    _cleanup_(store_close_p) Store *store = open_store("events.db");
    _cleanup_json_ json_t *detail = json_pack("{s:i}", "n", 1), *list = NULL, *rest = NULL;
    uint64_t first, second, last;
    CHECK_INT(events_last(store, &last, NULL), 0);
    CHECK_INT(last, 0);
    CHECK_INT(events_add(store, "vm.running", "id", "web", detail, &first, NULL), 0);
    CHECK_INT(events_add(store, "daemon.started", NULL, NULL, NULL, &second, NULL), 0);
    CHECK_INT(events_list(store, 0, 10, &list, NULL), 0);
    CHECK_INT(json_array_size(list), 2);
    CHECK_STR(json_string_value(json_object_get(json_array_get(list, 0), "type")), "vm.running");
    CHECK(json_equal(json_object_get(json_array_get(list, 0), "detail"), detail));
    CHECK(json_is_null(json_object_get(json_array_get(list, 1), "vm")));
    CHECK_INT(events_list(store, first, 10, &rest, NULL), 0);
    CHECK_INT(json_array_size(rest), 1);
}

static void test_events_are_bounded(void) {
    _cleanup_(store_close_p) Store *store = open_store("bounded.db");
    _cleanup_json_ json_t *list = NULL;
    uint64_t id;
    CHECK_INT(events_add(store, "first", NULL, NULL, NULL, &id, NULL), 0);
    sql("bounded.db", "UPDATE sqlite_sequence SET seq = 100999 WHERE name = 'events'");
    CHECK_INT(events_add(store, "later", NULL, NULL, NULL, &id, NULL), 0);
    CHECK_INT(id, 101000);
    CHECK_INT(events_list(store, 0, 10, &list, NULL), 0);
    CHECK_INT(json_array_size(list), 1);
    CHECK_STR(json_string_value(json_object_get(json_array_get(list, 0), "type")), "later");
}

static void test_meta(void) {
    _cleanup_(store_close_p) Store *store = open_store("meta.db");
    _cleanup_free_ char *value = NULL;
    CHECK_INT(meta_get(store, "k", &value, NULL), 0);
    CHECK(!value);
    CHECK_INT(meta_set(store, "k", "1", NULL), 0);
    CHECK_INT(meta_set(store, "k", "2", NULL), 0);
    CHECK_INT(meta_get(store, "k", &value, NULL), 0);
    CHECK_STR(value, "2");
}

static void test_newer_schema(void) {
    _cleanup_free_ char *path = file("newer.db");
    _cleanup_error_ Error error = ERROR_INIT;
    Store *store = NULL;
    CHECK(!store_close(open_store("newer.db")));
    sql("newer.db", "PRAGMA user_version = 999");
    CHECK_INT(store_open(path, &store, &error), -ENOTSUP);
    CHECK_INT(error.kind, ERROR_UNSUPPORTED);
    CHECK_CONTAINS(error_message(&error), "newer ramet");
}

static void test_damage(void) {
    _cleanup_free_ char *path = file("damaged.db"), *garbage = file("garbage.db");
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_close_ int fd = -1;
    Store *store = NULL;
    char junk[4096];
    memset(junk, 0x5a, sizeof(junk));
    fd = open(garbage, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK_INT(fd_write_full(fd, junk, sizeof(junk)), 0);
    CHECK_INT(store_open(garbage, &store, &error), -EBADMSG);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    CHECK_CONTAINS(error_message(&error), "garbage.db");
    CHECK(error.hint);

    CHECK(!store_close(open_store("damaged.db")));
    fd = fd_close(fd);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK_INT(fd_pwrite_full(fd, junk, sizeof(junk), 4096), 0);
    CHECK_INT(store_open(path, &store, &error), -EBADMSG);
    CHECK_INT(error.kind, ERROR_CORRUPT);
}

/* A step that fails leaves the schema as it was: here a table is in its way. */
static void test_failed_migration(void) {
    _cleanup_free_ char *path = file("halfway.db");
    _cleanup_error_ Error error = ERROR_INIT;
    Store *store = NULL;
    sql("halfway.db", "CREATE TABLE events (x)");
    CHECK(store_open(path, &store, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "version 1");
    sql("halfway.db", "DROP TABLE events");
    CHECK_INT(store_open(path, &store, &error), 0);
    CHECK(!store_close(store));
}

static void test_transaction(void) {
    _cleanup_(store_close_p) Store *store = open_store("transaction.db");
    _cleanup_free_ char *value = NULL;
    CHECK_INT(store_begin(store, NULL), 0);
    CHECK_INT(meta_set(store, "k", "lost", NULL), 0);
    store_rollback(store);
    CHECK_INT(meta_get(store, "k", &value, NULL), 0);
    CHECK(!value);
    CHECK_INT(store_begin(store, NULL), 0);
    CHECK_INT(meta_set(store, "k", "kept", NULL), 0);
    CHECK_INT(store_commit(store, NULL), 0);
    CHECK_INT(meta_get(store, "k", &value, NULL), 0);
    CHECK_STR(value, "kept");
}

/* What was answered before kill -9 is there afterwards. */
static void test_kill(void) {
    int pipe_fds[2], status;
    uint64_t told = 0, id = 0;
    pid_t pid;
    CHECK(!store_close(open_store("kill.db")));
    CHECK_INT(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        Store *store = open_store("kill.db");
        for (;;) {
            if (events_add(store, "x", NULL, NULL, NULL, &id, NULL) < 0)
                _exit(1);
            (void)!write(pipe_fds[1], &id, sizeof(id));
        }
    }
    while (told < 200)
        CHECK_INT(read(pipe_fds[0], &told, sizeof(told)), sizeof(told));
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    (void)close(pipe_fds[1]);
    while (read(pipe_fds[0], &id, sizeof(id)) == sizeof(id))
        told = id;
    (void)close(pipe_fds[0]);
    {
        _cleanup_(store_close_p) Store *store = open_store("kill.db");
        CHECK_INT(events_last(store, &id, NULL), 0);
        CHECK(id >= told);
    }
}

/* Many threads want one name: exactly one gets it. */
#define THREADS 8
static Store *shared;
static int winners;

static void *take_name(void *data) {
    int *number = data;
    for (int round = 0; round < 20; round++) {
        _cleanup_free_ char *id = str_format("%032d", round * THREADS + *number);
        _cleanup_free_ char *name = str_format("n%d", round);
        _cleanup_free_ char *mac = str_format("52:54:00:00:%02x:%02x", round, *number);
        if (add_vm(shared, id, name, mac, 0, NULL) == 0)
            (void)__atomic_add_fetch(&winners, 1, __ATOMIC_RELAXED);
        CHECK_INT(events_add(shared, "try", id, name, NULL, NULL, NULL), 0);
    }
    return NULL;
}

static void test_threads(void) {
    pthread_t threads[THREADS];
    int numbers[THREADS];
    uint64_t last;
    shared = open_store("threads.db");
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK_INT(pthread_create(&threads[i], NULL, take_name, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    CHECK_INT(winners, 20);
    CHECK_INT(events_last(shared, &last, NULL), 0);
    CHECK_INT(last, 20 * THREADS);
    shared = store_close(shared);
}

int main(void) {
    CHECK(mkdtemp(folder));
    RUN(test_reserve);
    RUN(test_vms_round_trip);
    RUN(test_vms_keep_unknown);
    RUN(test_vms_claim);
    RUN(test_vms_release_warm);
    RUN(test_vms_conflicts);
    RUN(test_vms_find);
    RUN(test_vms_pick_uid);
    RUN(test_images);
    RUN(test_another_digest);
    RUN(test_events);
    RUN(test_events_are_bounded);
    RUN(test_meta);
    RUN(test_newer_schema);
    RUN(test_damage);
    RUN(test_failed_migration);
    RUN(test_transaction);
    RUN(test_kill);
    RUN(test_threads);
    (void)path_remove_tree(folder);
    return 0;
}
