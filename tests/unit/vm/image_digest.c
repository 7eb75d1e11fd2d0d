/* SPDX-License-Identifier: Apache-2.0 */

/* Images whose digest comes later. The lock that the one who computes it needs is held here, so
 * that it is not known for as long as a test wants. */

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/lock.h"
#include "base/path.h"
#include "base/str.h"
#include "check.h"
#include "home.h"
#include "vm/images.h"

static Home home;
static char *kernel;                 /* owned */
static char one[80], other[80];      /* archives of one disk */
static char source[SHA256_HEX_SIZE]; /* of `one` */
static char disk[SHA256_HEX_SIZE];   /* of what they hold */

static void must(int r, const Error *error) {
    if (r < 0) {
        fprintf(stderr, "failed: %s\n", error_message(error));
        exit(1);
    }
}

static void sum(const char *path, char hex[SHA256_HEX_SIZE]) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

    CHECK_INT(sha256_file(fd, hex, NULL), 0);
}

/* The magic number of ext4, and holes. */
static void make_archives(void) {
    _cleanup_free_ char *raw = path_join(home.path, "disk.img");
    _cleanup_free_ char *command = NULL;
    _cleanup_close_ int fd = open(raw, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    CHECK_INT(ftruncate(fd, 1 << 20), 0);
    CHECK_INT(pwrite(fd, "\x53\xef", 2, 1080), 2);
    (void)snprintf(one, sizeof(one), "%s/one.zst", home.path);
    (void)snprintf(other, sizeof(other), "%s/other.zst", home.path);
    command = str_format("zstd -q -1 -c %s > %s && { cat %s; printf '' | zstd -q -c; } > %s", raw,
                         one, one, other);
    CHECK_INT(system(command), 0);
    sum(one, source);
    sum(raw, disk);
    kernel = path_find_sibling("fake-keeper");
}

static int hold(void) {
    _cleanup_free_ char *locks = path_join(home.path, "locks");
    _cleanup_free_ char *name = str_format("digest-%s", source);
    int fd;

    CHECK_INT(lock_acquire(locks, name, UINT64_MAX, -1, &fd, NULL), 0);
    return fd;
}

static int import(const char *name, const char *path, bool defer, json_t **image, Error *error) {
    const ImageImportOptions options = {
        .name = name, .path = path, .fd = -1, .kernel = kernel, .defer_digest = defer};
    Operation operation;

    operation_init(&operation, 0, -1);
    return image_op_import(home.ramet, &operation, &options, image, error);
}

static void import_late(const char *name, json_t **image) {
    _cleanup_error_ Error error = ERROR_INIT;

    must(import(name, one, true, image, &error), &error);
}

static void remove_image(const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;
    Operation operation;

    operation_init(&operation, 0, -1);
    must(image_op_remove(home.ramet, &operation, name, &error), &error);
}

static void remove_vm(const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;
    Operation operation;

    operation_init(&operation, 0, -1);
    must(vm_remove(home.ramet, &operation, name, true, &error), &error);
}

static json_t *inspect(const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;
    json_t *image;

    must(image_op_inspect(home.ramet, -1, name, &image, &error), &error);
    return image;
}

/* Bases beside the home's own. */
static size_t count_bases(void) {
    _cleanup_free_ char *pattern = path_join(home.path, "images/*.raw");
    glob_t found;
    size_t count;

    CHECK_INT(glob(pattern, 0, NULL, &found), 0);
    count = found.gl_pathc;
    globfree(&found);
    return count - 1;
}

static void check_digest(const json_t *object, const char *member) {
    CHECK_CONTAINS(vm_text(object, member), disk);
    CHECK(str_has_prefix(vm_text(object, member), "sha256:"));
}

static int make_vm(const char *name, bool run, int cancel_fd, json_t **vm, Error *error) {
    _cleanup_vm_spec_ VmSpec spec;
    Operation operation;

    vm_spec_init(&spec);
    (void)snprintf(spec.name, sizeof(spec.name), "%s", name);
    (void)snprintf(spec.image, sizeof(spec.image), "late");
    operation_init(&operation, 0, cancel_fd);
    return run ? vm_run(home.ramet, &operation, &spec, false, vm, error)
               : vm_create(home.ramet, &operation, &spec, vm, error);
}

static void test_creation_does_not_wait(void) {
    _cleanup_json_ json_t *image = NULL, *list = NULL, *made = NULL, *vm = NULL, *known = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    int lock = hold();

    import_late("late", &image);
    CHECK(json_is_null(json_object_get(image, "digest")));
    must(image_op_list(home.ramet, &list, &error), &error);
    CHECK_INT(json_array_size(list), 2);
    must(make_vm("early", false, -1, &made, &error), &error);
    CHECK(json_is_null(json_object_get(made, "image_digest")));
    CHECK_STR(vm_text(json_object_get(made, "disk"), "backing"), vm_text(image, "path"));
    (void)fd_close(lock);
    known = inspect("late");
    check_digest(known, "digest");
    must(vm_inspect(home.ramet, "early", &vm, &error), &error);
    check_digest(vm, "image_digest");
    CHECK_INT(access(vm_text(image, "path"), R_OK), 0); /* the VM's disk goes on naming it */
    CHECK_INT(access(vm_text(known, "path"), R_OK), 0);
    remove_vm("early");
    remove_image("late");
    CHECK_INT(count_bases(), 0);
}

static void test_a_start_waits(void) {
    _cleanup_json_ json_t *image = NULL, *vm = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_close_ int gone = eventfd(1, EFD_CLOEXEC);
    int lock = hold();

    import_late("late", &image);
    CHECK(make_vm("started", true, gone, &vm, &error) < 0);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    CHECK(!home_state(&home, "started"));
    CHECK(image_op_inspect(home.ramet, gone, "late", &vm, NULL) < 0);
    (void)fd_close(lock);
    error_clear(&error);
    must(make_vm("started", true, -1, &vm, &error), &error);
    check_digest(vm, "image_digest");
    remove_vm("started");
    remove_image("late");
}

static void test_start_of_a_created_one(void) {
    _cleanup_json_ json_t *vm = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    Operation operation;
    int lock = hold();

    operation_init(&operation, 0, -1);
    import_late("late", NULL);
    must(make_vm("second", false, -1, NULL, &error), &error);
    (void)fd_close(lock);
    must(vm_start(home.ramet, &operation, "second", false, &vm, &error), &error);
    check_digest(vm, "image_digest");
    remove_vm("second");
    remove_image("late");
}

static void test_daemon_dies_in_between(void) {
    _cleanup_json_ json_t *image = NULL, *known = NULL, *vm = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    int lock = hold();

    import_late("late", &image);
    must(make_vm("kept", false, -1, NULL, &error), &error);
    home_close(&home); /* ends the one that waits for the lock */
    (void)fd_close(lock);
    home_open(&home);
    CHECK_INT(ramet_reconcile(home.ramet), 0);
    known = inspect("late");
    check_digest(known, "digest");
    must(vm_inspect(home.ramet, "kept", &vm, &error), &error);
    check_digest(vm, "image_digest");
    remove_vm("kept");
    remove_image("late");
    CHECK_INT(count_bases(), 0);
}

static void test_removed_before_it_is_known(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    int lock = hold();
    Operation operation;

    operation_init(&operation, 0, -1);
    import_late("late", NULL);
    must(make_vm("user", false, -1, NULL, &error), &error);
    CHECK_INT(image_op_remove(home.ramet, &operation, "late", NULL), -EBUSY);
    remove_vm("user");
    remove_image("late");
    CHECK_INT(count_bases(), 0);
    (void)fd_close(lock);
    home_close(&home); /* waits for the one that found no base */
    CHECK_INT(count_bases(), 0);
    home_open(&home);
}

static void test_one_content_two_names(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *late = NULL, *early = NULL;
    int lock = hold();

    import_late("late", NULL);
    must(import("early", other, false, &early, &error), &error);
    check_digest(early, "digest");
    CHECK_INT(count_bases(), 2);
    remove_image("early"); /* the same content, which nobody knows yet */
    CHECK_INT(count_bases(), 1);
    must(import("early", other, false, NULL, &error), &error);
    (void)fd_close(lock);
    late = inspect("late");
    CHECK_STR(vm_text(late, "path"), vm_text(early, "path"));
    remove_image("early");
    CHECK_INT(access(vm_text(late, "path"), R_OK), 0);
    remove_image("late");
    CHECK_INT(count_bases(), 0);
}

/* The name is taken; whether by the same content, only the digest tells. */
static void test_name_that_is_taken(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *first = NULL, *again = NULL;

    must(import("late", other, true, &first, &error), &error);
    must(import("late", one, true, &again, &error), &error);
    check_digest(again, "digest");
    CHECK(import("test", one, true, NULL, &error) < 0);
    CHECK_INT(error.kind, ERROR_CONFLICT);
    remove_image("late");
}

static void test_who_asks_for_it_waits(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *image = NULL;

    import_late("late", NULL);
    must(import("late", one, false, &image, &error), &error); /* whether known by now or not */
    check_digest(image, "digest");
    remove_image("late");
}

int main(void) {
    if (system("zstd --version > /dev/null 2>&1") != 0)
        SKIP("zstd is missing");
    home_make(&home);
    make_archives();
    RUN(test_creation_does_not_wait);
    RUN(test_a_start_waits);
    RUN(test_start_of_a_created_one);
    RUN(test_daemon_dies_in_between);
    RUN(test_removed_before_it_is_known);
    RUN(test_one_content_two_names);
    RUN(test_name_that_is_taken);
    RUN(test_who_asks_for_it_waits);
    free(kernel);
    home_remove(&home);
    return 0;
}
