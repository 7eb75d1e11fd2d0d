/* SPDX-License-Identifier: Apache-2.0 */

/* Binaries that are no QEMU, a scripted one (a shell that answers nothing sensible), and the real
 * one where it is installed. */

#include "qemu/features.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "base/str.h"
#include "check.h"

#define BOUND (clock_monotonic_usec() + 60 * USEC_PER_SEC)

static char folder[] = "/tmp/ramet-test-features-XXXXXX";

static char *write_script(const char *name, const char *body) {
    char *path = path_join(folder, name);
    _cleanup_fclose_ FILE *file = fopen(path, "we");
    CHECK(file);
    CHECK(fprintf(file, "#!/bin/sh\n%s\n", body) > 0);
    CHECK_INT(fchmod(fileno(file), 0700), 0);
    return path;
}

static void test_dies_at_start(void) {
    _cleanup_free_ char *path = write_script("dies", "echo 'libfoo.so: not found' >&2; exit 127");
    _cleanup_error_ Error error = ERROR_INIT;
    QemuFeatures features = {.version = "untouched"};
    CHECK(qemu_probe_features(path, BOUND, &features, &error) < 0);
    CHECK_INT(error.kind, ERROR_UNSUPPORTED);
    CHECK_CONTAINS(error_message(&error), "it said: libfoo.so: not found");
    CHECK_STR(features.version, "untouched");
}

static void test_says_nothing(void) {
    _cleanup_free_ char *path = write_script("silent", "exec sleep 1000");
    _cleanup_error_ Error error = ERROR_INIT;
    QemuFeatures features;
    CHECK_INT(qemu_probe_features(path, clock_monotonic_usec() + 50000, &features, &error),
              -ETIMEDOUT);
    CHECK_INT(error.kind, ERROR_TIMEOUT);
}

static void test_no_binary(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    QemuFeatures features;
    char *path = NULL;
    CHECK_INT(qemu_probe_features("/no/such/qemu", BOUND, &features, &error), -ENOENT);
    CHECK_INT(qemu_find_binary("/no/such/qemu", &path, &error), -ENOENT);
    CHECK_INT(error.kind, ERROR_UNSUPPORTED);
    CHECK(error.hint && !path);
}

/* Answers every question with an empty list or, for properties, an error. */
static void test_scripted(void) {
    _cleanup_free_ char *path =
        write_script("scripted", "exec 3<>/proc/self/fd/3; printf '%s\\n' "
                                 "'{\"QMP\":{\"version\":{\"qemu\":{\"major\":99,\"minor\":1,"
                                 "\"micro\":2},\"package\":\"\"}}}' >&3");
    _cleanup_error_ Error error = ERROR_INIT;
    QemuFeatures features;
    CHECK(qemu_probe_features(path, BOUND, &features, &error) <
          0); /* hangs up after the greeting */
    CHECK_CONTAINS(error_message(&error), "does not answer");
}

static void test_json(void) {
    QemuFeatures features = {.binary = (char[]){"/q"},
                             .size_bytes = 7,
                             .mtime_nsec = 8,
                             .sha256 = "ab",
                             .version = "9.9",
                             .microvm = true,
                             .memory_rom = true};
    _cleanup_json_ json_t *json = qemu_features_to_json(&features);
    _cleanup_error_ Error error = ERROR_INIT;
    QemuFeatures back;
    CHECK_INT(qemu_features_from_json(json, &back, &error), 0);
    CHECK(back.microvm && back.memory_rom && !back.kvm && back.size_bytes == 7);
    CHECK_STR(back.version, "9.9");
    qemu_features_free(&back);
    CHECK_INT(json_object_set_new(json, "kvm", json_integer(1)), 0);
    CHECK(qemu_features_from_json(json, &back, &error) < 0);
    CHECK_INT(json_object_del(json, "version"), 0);
    CHECK(qemu_features_from_json(json, &back, &error) < 0);
    CHECK_INT(qemu_features_check(&features, &error), -ENOSYS);
    CHECK_CONTAINS(error_message(&error), "lacks memory-backend-file");
}

static void test_real(void) {
    _cleanup_free_ char *path = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    QemuFeatures features, again;
    if (qemu_find_binary(NULL, &path, NULL) < 0) {
        printf("# no QEMU here: the real one is not asked\n");
        return;
    }
    CHECK_INT(qemu_features_cached(folder, path, BOUND, &features, &error), 0);
    CHECK_INT(qemu_features_check(&features, &error), 0);
    CHECK(features.tcg && features.save_devices && features.snapshot);
    CHECK_INT(strlen(features.sha256), 64);
    CHECK(qemu_features_fit(&features, path));
    printf("# QEMU %s, memory_rom %d, user_network %d\n", features.version, features.memory_rom,
           features.user_network);
    CHECK_INT(qemu_features_cached(folder, path, 0, &again, &error),
              0); /* 0: a question would time out */
    CHECK_STR(again.version, features.version);
    qemu_features_free(&again);
    qemu_features_free(&features);
}

/* A binary that was replaced is asked again. */
static void test_stale_cache(void) {
    _cleanup_free_ char *script = write_script("other", "exit 1");
    _cleanup_error_ Error error = ERROR_INIT;
    QemuFeatures features;
    CHECK(qemu_features_cached(folder, script, BOUND, &features, &error) < 0);
}

int main(void) {
    CHECK(mkdtemp(folder));
    RUN(test_dies_at_start);
    RUN(test_says_nothing);
    RUN(test_no_binary);
    RUN(test_scripted);
    RUN(test_json);
    RUN(test_real);
    RUN(test_stale_cache);
    CHECK_INT(path_remove_tree(folder), 0);
    return 0;
}
