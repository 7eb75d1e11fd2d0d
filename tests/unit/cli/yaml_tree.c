/* SPDX-License-Identifier: Apache-2.0 */
/* Files in YAML: the tree, the lines, what is refused. */
#include "cli/yaml_tree.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "check.h"

static void parse(const char *text, YamlTree *tree) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (yaml_tree_parse("x.yaml", text, strlen(text), tree, &error) < 0)
        CHECK_STR(error_message(&error), "no error");
}

static void check_refused(const char *text, size_t size, const char *message) {
    YamlTree tree;
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(yaml_tree_parse("x.yaml", text, size, &tree, &error), -EINVAL);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK_CONTAINS(error.message, message);
    CHECK(!tree.root);
}

static void tree_has_values_and_lines(void) {
    _cleanup_yaml_tree_ YamlTree tree;
    const YamlNode *list, *map;
    parse("# a comment\n"
          "list:\n"
          "  - one\n"
          "  - \"2\"\n"
          "map: {a: 1, 'b c': x}\n"
          "block: |\n"
          "  first\n"
          "  second\n"
          "empty:\n",
          &tree);
    CHECK_INT(tree.root->kind, YAML_TREE_MAPPING);
    list = yaml_tree_member(tree.root, "list");
    CHECK_INT(list->kind, YAML_TREE_LIST);
    CHECK_INT(list->line, 2);
    CHECK_STR(list->first->text, "one");
    CHECK(!list->first->quoted);
    CHECK_INT(list->first->line, 3);
    CHECK_STR(list->last->text, "2");
    CHECK(list->last->quoted);
    CHECK_INT(list->last->line, 4);
    CHECK(!list->last->next && list->first->next == list->last);
    map = yaml_tree_member(tree.root, "map");
    CHECK_STR(yaml_tree_member(map, "a")->text, "1");
    CHECK_STR(yaml_tree_member(map, "b c")->text, "x");
    CHECK(!yaml_tree_member(map, "c") && !yaml_tree_member(list, "a") &&
          !yaml_tree_member(NULL, "a"));
    CHECK_STR(yaml_tree_member(tree.root, "block")->text, "first\nsecond\n");
    CHECK_STR(yaml_tree_member(tree.root, "empty")->text, "");
}

static void an_empty_file_has_no_root(void) {
    static const char *const texts[] = {"", "\n\n", "# only a comment\n"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        _cleanup_yaml_tree_ YamlTree tree;
        parse(texts[i], &tree);
        CHECK(!tree.root);
    }
}

static void refusals_name_the_line(void) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"a: 1\nb: [1, 2\n", "x.yaml:3: "},
        {"a: 1\na: 2\n", "x.yaml:2: the key a comes a second time"},
        {"a: &x 1\n", "x.yaml:1: anchors and tags"},
        {"a: &x {b: 1}\n", "x.yaml:1: anchors and tags"},
        {"\na: !!int 1\n", "x.yaml:2: anchors and tags"},
        {"a: &x [1]\nb: *x\n", "x.yaml:1: anchors and tags"},
        {"a: 1\nb: *x\n", "x.yaml:2: aliases are not known"},
        {"a: 1\n---\nb: 2\n", "x.yaml:2: a second document"},
        {"a: 1\n\tb: 2\n", "x.yaml:2: "},
        {"a: \"x\\0y\"\n", "x.yaml:1: there is a NUL"},
        {"{[1]: 2}\n", "x.yaml:1: a key must be a single value"},
        {"a: 1\n  b: 2\n", "x.yaml:2: "},
        {"a: \xff\xfe\n", "x.yaml: "},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        check_refused(cases[i].text, strlen(cases[i].text), cases[i].message);
}

static void sizes_are_bounded(void) {
    char deep[YAML_TREE_DEPTH_MAX + 2];
    StrBuf many = {0};
    memset(deep, '[', sizeof(deep));
    check_refused(deep, sizeof(deep), "nested too deep");
    strbuf_add_text(&many, "[");
    for (size_t i = 0; i < YAML_TREE_NODES_MAX; i++)
        strbuf_add_text(&many, "1,");
    strbuf_add_text(&many, "1]");
    check_refused(many.data, many.size, "too much");
    strbuf_free(&many);
    _cleanup_free_ char *large = calloc(1, YAML_TREE_BYTES_MAX + 1);
    _cleanup_error_ Error error = ERROR_INIT;
    YamlTree tree;
    CHECK_INT(yaml_tree_parse("x.yaml", large, YAML_TREE_BYTES_MAX + 1, &tree, &error), -E2BIG);
    CHECK_CONTAINS(error.message, "larger than 1024 KiB");
}

static void checks_tell_what_is_expected(void) {
    static const char *const known[] = {"image", "memory", NULL};
    _cleanup_yaml_tree_ YamlTree tree;
    _cleanup_error_ Error error = ERROR_INIT;
    parse("image: x\nram: [1]\n", &tree);
    CHECK_INT(yaml_tree_check_keys(&tree, tree.root, known, &error), -EINVAL);
    CHECK_STR(error.message, "x.yaml:2: the key ram is not known here");
    CHECK_STR(error.hint, "known are: image, memory");
    CHECK_INT(yaml_tree_check_kind(&tree, tree.root->last, YAML_TREE_SCALAR, &error), -EINVAL);
    CHECK_STR(error.message, "x.yaml:2: ram is a list, not a single value");
    CHECK_INT(yaml_tree_check_kind(&tree, tree.root->first, YAML_TREE_SCALAR, &error), 0);
    CHECK_INT(yaml_tree_check_kind(&tree, tree.root, YAML_TREE_LIST, &error), -EINVAL);
    CHECK_CONTAINS(error.message, "x.yaml:1: this is a mapping (KEY: VALUE), not a list");
}

int main(void) {
    RUN(tree_has_values_and_lines);
    RUN(an_empty_file_has_no_root);
    RUN(refusals_name_the_line);
    RUN(sizes_are_bounded);
    RUN(checks_tell_what_is_expected);
    return 0;
}
