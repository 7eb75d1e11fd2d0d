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
    CHECK_STR(text, "{\"error\":{\"code\":\"failed\",\"message\":\"guest said ?\"}}");
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
    CHECK_INT(stages_total_usec(&back), 40);
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

int main(void) {
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
