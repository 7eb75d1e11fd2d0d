/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/exec_lines.h"

#include <string.h>

#include "check.h"

static json_t *parse(const char *text) {
    json_t *request = NULL;
    CHECK_INT(exec_lines_parse(text, strlen(text), &request, NULL), 0);
    return request;
}

static void test_input_is_joined(void) {
    _cleanup_json_ json_t *request = parse("{\"argv\":[\"cat\"]}\n"
                                           "{\"stream\":\"stdin\",\"data\":\"a\\n\"}\r\n"
                                           "\n"
                                           "{\"stream\":\"stdin\",\"data\":{\"base64\":\"AP8=\"}}");
    _cleanup_free_ char *bytes = NULL;
    size_t size = 0;
    CHECK_INT(json_array_size(json_object_get(request, "argv")), 1);
    CHECK_INT(json_to_bytes(json_object_get(request, "input"), &bytes, &size), 0);
    CHECK_INT(size, 4);
    CHECK(memcmp(bytes, "a\n\0\xff", 4) == 0);
}

static void test_one_line(void) {
    _cleanup_json_ json_t *request = parse("{\"argv\":[\"true\"]}");
    CHECK(!json_object_get(request, "input"));
}

static void fails(const char *text, const char *part) {
    _cleanup_error_ Error error = ERROR_INIT;
    json_t *request = NULL;
    CHECK(exec_lines_parse(text, strlen(text), &request, &error) < 0);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK_CONTAINS(error_message(&error), part);
    CHECK(!request);
}

static void test_what_is_wrong_is_named(void) {
    fails("", "no line");
    fails("\n \n", "no line");
    fails("[]", "line 1");
    fails("{\"argv\":[]}\n{", "line 2");
    fails("{\"argv\":[]}\n\n{\"stream\":\"stdin\"}", "line 3");
    fails("{\"argv\":[]}\n{\"stream\":\"stdout\",\"data\":\"x\"}", "line 2");
    fails("{\"argv\":[]}\n{\"stream\":\"stdin\",\"data\":7}", "line 2");
    fails("{\"argv\":[]}\n{\"stream\":\"stdin\",\"data\":{\"base64\":\"*\"}}", "line 2");
    fails("{\"argv\":[],\"input\":\"a\"}\n{\"stream\":\"stdin\",\"data\":\"b\"}", "input");
}

int main(void) {
    RUN(test_input_is_joined);
    RUN(test_one_line);
    RUN(test_what_is_wrong_is_named);
    return 0;
}
