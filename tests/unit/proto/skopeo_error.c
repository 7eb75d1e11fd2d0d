/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/skopeo_error.h"

#include <errno.h>

#include "check.h"

static int explain(const char *said, Error *error) {
    SpawnOutput output = {.err = (char *)said};
    _cleanup_error_ Error found = ERROR_INIT;
    error_set(&found, ERROR_FAILED, EIO, "skopeo failed with status 1");
    return skopeo_explain(&output, &found, error);
}

static void test_its_words(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(explain("time=\"x\" level=info msg=\"y\"\n"
                  "time=\"x\" level=fatal msg=\"Error parsing image name \\\"docker://h/x:1\\\": "
                  "reading manifest 1 in h/x: manifest unknown\"\n",
                  &error) < 0);
    CHECK(error.kind == ERROR_NOT_FOUND);
    CHECK_STR(error_message(&error), "reading manifest 1 in h/x: manifest unknown");
    CHECK(error.hint != NULL);
}

static void test_usage(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(explain("level=fatal msg=\"Error parsing image name \\\"docker://UP/x\\\": invalid "
                  "reference format: repository name must be lowercase\"",
                  &error) < 0);
    CHECK(error.kind == ERROR_USAGE);
}

static void test_plain_http(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(explain("level=fatal msg=\"pinging: http: server gave HTTP response to HTTPS client\"",
                  &error) < 0);
    CHECK(error.kind == ERROR_FAILED);
    CHECK_STR(error.hint, "name --insecure for a registry that speaks plain http");
}

static void test_without_words(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(explain("panic: runtime error", &error) < 0);
    CHECK_STR(error_message(&error), "skopeo failed with status 1");
}

int main(void) {
    test_its_words();
    test_usage();
    test_plain_http();
    test_without_words();
    return 0;
}
