/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <errno.h>

#include "check.h"

static json_t *parse(const char *text) {
    json_t *json = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    if (json_parse("text", text, strlen(text), &json, &error) < 0)
        CHECK_STR(error_message(&error), "no error");
    return json;
}

static void check_refused(const char *text, const char *part) {
    json_t *json = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(json_parse("the request", text, strlen(text), &json, &error), -EINVAL);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK_CONTAINS(error.message, part);
    CHECK(!json);
}

static void parse_refuses(void) {
    check_refused("{\"a\":1", "the request is not valid JSON: line 1");
    check_refused("", "not valid JSON");
    check_refused("{\"a\":1,\"a\":2}", "duplicate");
    check_refused("{} {}", "end of file expected");
    check_refused("{\"\x1b[2J\":1}", "not valid JSON");
}

static void parse_bounds_the_depth(void) {
    char text[201];
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    text[130] = '\0';
    check_refused(text, "nested deeper than 64");
    text[129] = '\0';
    _cleanup_json_ json_t *json = parse(text + 1);
    CHECK(json_is_array(json));
    memset(text, '[', 200);
    memcpy(text, "[\"\\\"", 4);
    memcpy(text + 198, "\"]", 3);
    _cleanup_json_ json_t *brackets_in_string = parse(text);
    CHECK_INT(json_array_size(brackets_in_string), 1);
}

static void parse_needs_no_nul(void) {
    _cleanup_json_ json_t *json = NULL;
    CHECK_INT(json_parse("x", "[17]trailing", 4, &json, NULL), 0);
    CHECK_INT(json_integer_value(json_array_get(json, 0)), 17);
}

static void members(void) {
    _cleanup_json_ json_t *object =
        parse("{\"s\":\"text\",\"n\":17,\"m\":-1,\"b\":true,\"z\":null}");
    _cleanup_error_ Error error = ERROR_INIT;
    const char *string = "default";
    uint64_t number = 5;
    bool flag = false;
    CHECK_INT(json_opt_string("it", object, "none", &string, &error), 0);
    CHECK_INT(json_opt_string("it", object, "z", &string, &error), 0);
    CHECK_STR(string, "default");
    CHECK_INT(json_get_string("it", object, "s", &string, &error), 0);
    CHECK_STR(string, "text");
    CHECK_INT(json_get_u64("it", object, "n", &number, &error), 0);
    CHECK_INT(number, 17);
    CHECK_INT(json_opt_bool("it", object, "b", &flag, &error), 0);
    CHECK(flag);
    CHECK_INT(json_get_u64("it", object, "m", &number, &error), -EINVAL);
    CHECK_INT(number, 17);
    CHECK_INT(json_get_string("it", object, "z", &string, &error), -EINVAL);
    CHECK_STR(error.message, "it lacks z");
    CHECK_INT(json_opt_string("it", object, "n", &string, &error), -EINVAL);
    CHECK_STR(error.message, "n of it is not a string");
    CHECK_INT(json_opt_bool("it", object, "s", &flag, &error), -EINVAL);
    CHECK_INT(error.kind, ERROR_USAGE);
}

static void error_goes_round(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_error_ Error back = ERROR_INIT;
    error_set(&error, ERROR_CONFLICT, 0, "name taken");
    error_set_hint(&error, "choose another");
    _cleanup_json_ json_t *json = json_from_error(&error);
    _cleanup_free_ char *text = json_to_text(json);
    CHECK_STR(text, "{\"error\":{\"code\":\"conflict\",\"message\":\"name taken\","
                    "\"hint\":\"choose another\"}}");
    CHECK_INT(json_to_error(json, &back), 0);
    CHECK_INT(back.kind, ERROR_CONFLICT);
    CHECK_STR(back.message, "name taken");
    CHECK_STR(back.hint, "choose another");
    _cleanup_json_ json_t *none = parse("{\"result\":1}");
    CHECK_INT(json_to_error(none, &back), -EINVAL);
    CHECK_INT(json_to_error(NULL, &back), -EINVAL);
}

static void error_with_bad_bytes(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    error_set(&error, ERROR_FAILED, 0, "guest said \xff");
    _cleanup_json_ json_t *json = json_from_error(&error);
    _cleanup_free_ char *text = json_to_text(json);
    CHECK_STR(text,
              "{\"error\":{\"code\":\"failed\",\"message\":\"guest said \\\\xff\",\"hint\":\"\"}}");
    CHECK_INT(json_to_error(json, &error), 0);
    CHECK(!error.hint);
}

static void stages_go_round(void) {
    Stages stages, back;
    stages_start(&stages, 10);
    stages_enter_at(&stages, "plan", 20);
    stages_enter_at(&stages, "boot", 30);
    stages_end_at(&stages, 50);
    _cleanup_json_ json_t *json = json_from_stages(&stages);
    _cleanup_free_ char *text = json_to_text(json);
    CHECK_STR(text, "[{\"name\":\"plan\",\"start_us\":0,\"duration_us\":20},"
                    "{\"name\":\"boot\",\"start_us\":20,\"duration_us\":20}]");
    CHECK_INT(json_to_stages(json, &back), 0);
    CHECK_INT(back.count, 2);
    CHECK_STR(back.items[1].name, "boot");
}

static void hostile_stages_are_refused(void) {
    static const char *const texts[] = {
        "{}",
        "[1]",
        "[{\"name\":\"x\",\"start_us\":0}]",
        "[{\"name\":\"x\",\"start_us\":0,\"duration_us\":-1}]",
        "[{\"name\":\"\",\"start_us\":0,\"duration_us\":1}]",
        "[{\"name\":\"\\u001b[2J\",\"start_us\":0,\"duration_us\":1}]",
        "[{\"name\":\"a name that is longer than the room\",\"start_us\":0,\"duration_us\":1}]",
    };
    Stages stages;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        _cleanup_json_ json_t *json = parse(texts[i]);
        CHECK_INT(json_to_stages(json, &stages), -EINVAL);
    }
    _cleanup_json_ json_t *many = json_array();
    for (int i = 0; i <= STAGES_MAX; i++)
        json_array_append_new(
            many, json_pack("{s:s,s:i,s:i}", "name", "x", "start_us", 0, "duration_us", 0));
    CHECK_INT(json_to_stages(many, &stages), -EINVAL);
}

/* To JSON, over text, and back. */
static void check_bytes(const char *bytes, size_t size, const char *expected) {
    _cleanup_json_ json_t *made = json_from_bytes(bytes, size);
    _cleanup_free_ char *text = json_to_text(made), *back = NULL;
    _cleanup_json_ json_t *read = NULL;
    size_t back_size = 0;
    CHECK_STR(text, expected);
    read = json_loads(text, JSON_DECODE_ANY, NULL);
    CHECK_INT(json_to_bytes(read, &back, &back_size), 0);
    CHECK_INT(back_size, size);
    CHECK(size == 0 || memcmp(back, bytes, size) == 0);
    CHECK_INT(back[size], 0);
}

static void bytes_go_round(void) {
    check_bytes("", 0, "\"\"");
    check_bytes(NULL, 0, "\"\"");
    check_bytes("plain", 5, "\"plain\"");
    check_bytes("caf\xc3\xa9", 5, "\"caf\xc3\xa9\"");
    check_bytes("caf\xe9", 4, "{\"base64\":\"Y2Fm6Q==\"}");
    check_bytes("\xff", 1, "{\"base64\":\"/w==\"}");
    check_bytes("a\0b", 3, "{\"base64\":\"YQBi\"}");
    check_bytes("\xed\xa0\x80", 3, "{\"base64\":\"7aCA\"}"); /* a surrogate */
    check_bytes("\xc0\xaf", 2, "{\"base64\":\"wK8=\"}");     /* longer than need be */
    check_bytes("\xf4\x90\x80\x80", 4, "{\"base64\":\"9JCAgA==\"}");
}

static void every_byte_goes_round(void) {
    char all[256];
    for (int length = 0; length <= 256; length++) {
        for (int i = 0; i < length; i++)
            all[i] = (char)(255 - i);
        _cleanup_json_ json_t *made = json_from_bytes(all, (size_t)length);
        _cleanup_free_ char *back = NULL;
        size_t size = 0;
        CHECK_INT(json_to_bytes(made, &back, &size), 0);
        CHECK_INT(size, length);
        CHECK(memcmp(back, all, size) == 0);
    }
}

static void what_holds_no_bytes_is_refused(void) {
    static const char *const texts[] = {"17",
                                        "null",
                                        "[]",
                                        "{}",
                                        "{\"base64\":17}",
                                        "{\"base64\":\"YQ==\",\"more\":1}",
                                        "{\"base64\":\"YQ=\"}",
                                        "{\"base64\":\"YQ\"}",
                                        "{\"base64\":\"Y===\"}",
                                        "{\"base64\":\"====\"}",
                                        "{\"base64\":\"YQ==YQ==\"}",
                                        "{\"base64\":\"YR==\"}",
                                        "{\"base64\":\"YWJ=\"}",
                                        "{\"base64\":\"YQ=a\"}",
                                        "{\"base64\":\"Y Q=\"}",
                                        "{\"base64\":\"Y-_=\"}"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        _cleanup_json_ json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);
        char *bytes = NULL;
        size_t size = 7;
        CHECK(json);
        CHECK_INT(json_to_bytes(json, &bytes, &size), -EINVAL);
        CHECK(!bytes);
        CHECK_INT(size, 7);
    }
    CHECK_INT(json_to_bytes(NULL, NULL, NULL), -EINVAL);
}

/* Bytes deep in a document, as a string in memory on both sides. */
static void documents_carry_bytes(void) {
    _cleanup_json_ json_t *made = json_pack("{s:[s, s], s:{s:s}, s:s}", "argv", "printf", "\xff",
                                            "deep", "er", "caf\xe9", "plain", "caf\xc3\xa9");
    _cleanup_free_ char *text = json_to_text(made);
    _cleanup_json_ json_t *read = parse(text);
    CHECK_STR(text, "{\"argv\":[\"printf\",{\"base64\":\"/w==\"}],"
                    "\"deep\":{\"er\":{\"base64\":\"Y2Fm6Q==\"}},\"plain\":\"caf\xc3\xa9\"}");
    CHECK(json_equal(read, made));
    CHECK_STR(json_string_value(json_array_get(json_object_get(read, "argv"), 1)), "\xff");
    /* what is no encoded bytes stays */
    _cleanup_json_ json_t *other = parse("{\"base64\":\"!\",\"x\":{\"base64\":1}}");
    CHECK_INT(json_object_size(other), 2);
    CHECK(json_is_object(json_object_get(other, "x")));
}

/* Where the library's own give NULL. */
static void constructors_never_fail(void) {
    _cleanup_json_ json_t *bytes = json_string("\xff"), *none = json_string(NULL),
                          *made = json_pack(
                              "{s:s, s:s, s:s?, s:s*, s:o, s:O?, s:b, s:f, s:n, s:[i, I]}", "a",
                              "\xff", "b", (const char *)NULL, "c", (const char *)NULL, "d",
                              (const char *)NULL, "e", (json_t *)NULL, "f", (json_t *)NULL, "g", 1,
                              "h", 0.5, "i", "j", -1, (json_int_t)1 << 40);
    _cleanup_free_ char *text = json_to_text(made);
    CHECK_STR(json_string_value(bytes), "\xff");
    CHECK(json_is_null(none));
    CHECK_STR(text, "{\"a\":{\"base64\":\"/w==\"},\"b\":null,\"c\":null,\"e\":null,\"f\":null,"
                    "\"g\":true,\"h\":0.5,\"i\":null,\"j\":[-1,1099511627776]}");
}

int main(void) {
    RUN(bytes_go_round);
    RUN(every_byte_goes_round);
    RUN(what_holds_no_bytes_is_refused);
    RUN(documents_carry_bytes);
    RUN(constructors_never_fail);
    RUN(parse_refuses);
    RUN(parse_bounds_the_depth);
    RUN(parse_needs_no_nul);
    RUN(members);
    RUN(error_goes_round);
    RUN(error_with_bad_bytes);
    RUN(stages_go_round);
    RUN(hostile_stages_are_refused);
    return 0;
}
