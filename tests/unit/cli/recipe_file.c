/* SPDX-License-Identifier: Apache-2.0 */
/* A recipe: what the request is, and the line of each mistake. */
#include "cli/recipe_file.h"

#include <errno.h>
#include <string.h>

#include "check.h"

static json_t *parse(const char *text) {
    json_t *recipe = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    if (recipe_file_parse("r.yaml", text, strlen(text), &recipe, &error) < 0)
        CHECK_STR(error_message(&error), "no error");
    return recipe;
}

static void check_recipe(const char *text, const char *expected) {
    _cleanup_json_ json_t *recipe = parse(text), *wanted = json_loads(expected, 0, NULL);
    _cleanup_free_ char *found = json_to_text(recipe);
    CHECK(wanted);
    if (!json_equal(recipe, wanted))
        CHECK_STR(found, expected);
}

static void everything_becomes_a_member(void) {
    check_recipe("base: debian\n"
                 "memory: 512M\n"
                 "cpus: 2\n"
                 "disk: 4G\n"
                 "network: none\n"
                 "timeout: 600\n"
                 "env: {A: 1}\n"
                 "steps:\n"
                 "  - packages: [nginx, libc6=2.36-1]\n"
                 "    network: user\n"
                 "  - copy: site\n"
                 "    to: /srv/\n"
                 "  - run: make\n"
                 "    timeout: 5\n"
                 "user: www\n"
                 "directory: /srv\n"
                 "entrypoint: [nginx, -g, '']\n"
                 "command: sleep 1\n"
                 "ports: [80, 53/udp]\n"
                 "snapshot-after: test -e /run/up\n"
                 "snapshot-timeout: 30\n",
                 "{\"file\":\"r.yaml\",\"base\":\"debian\",\"base_line\":1,\"memory_bytes\":"
                 "536870912,\"cpus\":2,"
                 "\"disk_bytes\":4294967296,\"network\":\"none\",\"timeout_s\":600,"
                 "\"env\":[\"A=1\"],\"steps\":["
                 "{\"kind\":\"packages\",\"line\":9,\"packages\":[\"nginx\",\"libc6=2.36-1\"],"
                 "\"network\":\"user\"},"
                 "{\"kind\":\"copy\",\"line\":11,\"from\":\"site\",\"path\":\"/srv/\"},"
                 "{\"kind\":\"run\",\"line\":13,\"command\":\"make\",\"timeout_s\":5}],"
                 "\"user\":\"www\",\"directory\":\"/srv\",\"entrypoint\":[\"nginx\",\"-g\",\"\"],"
                 "\"command\":[\"/bin/sh\",\"-c\",\"sleep 1\"],\"ports\":[\"80\",\"53/udp\"],"
                 "\"ready\":\"test -e /run/up\",\"ready_line\":20,\"ready_timeout_s\":30}");
}

static void a_base_is_enough(void) {
    check_recipe("base: busybox\n", "{\"file\":\"r.yaml\",\"base\":\"busybox\",\"base_line\":1}");
}

static void seeds_are_one_or_several(void) {
    check_recipe("base: x\nseed: a:/b:/c\n",
                 "{\"file\":\"r.yaml\",\"base\":\"x\",\"base_line\":1,"
                 "\"seeds\":[{\"from\":\"a:/b\",\"path\":\"/c\",\"line\":2}]}");
    check_recipe("base: x\nseed:\n  - a:/b\n  - c:/d\n",
                 "{\"file\":\"r.yaml\",\"base\":\"x\",\"base_line\":1,"
                 "\"seeds\":[{\"from\":\"a\",\"path\":\"/b\",\"line\":3},"
                 "{\"from\":\"c\",\"path\":\"/d\",\"line\":4}]}");
}

static void mistakes_have_lines(void) {
#define STEPS "base: x\nsteps:\n"
    static const struct {
        const char *text, *message, *hint;
    } cases[] = {
        {"", "r.yaml: it is empty", NULL},
        {"- a\n", "r.yaml:1: this is a list, not a mapping", NULL},
        {"steps: []\n", "r.yaml:1: it does not say what its base is", NULL},
        {"base: ../x\n", "r.yaml:1: base: ", NULL},
        {"base:\n", "r.yaml:1: base has no value", NULL},
        {"base: x\n\nfrom: y\n", "r.yaml:3: the key from is not known here",
         "known are: base, memory"},
        {"base: x\nseed: y\n", "r.yaml:2: \"y\" is no folder with its place", NULL},
        {"base: x\nseed: [\"a:/b\", \":/c\"]\n", "r.yaml:2: \":/c\" is no folder", NULL},
        {"base: x\nseed: {a: b}\n", "r.yaml:2: ", NULL},
        {"base: x\nbase: y\n", "r.yaml:2: the key base comes a second time", NULL},
        {"base: x\nmemory: lots\n", "r.yaml:2: memory: \"lots\" is no size", NULL},
        {"base: x\ncpus: 99\n", "r.yaml:2: cpus: \"99\" is no number from 1 to 64", NULL},
        {"base: x\ndisk: [1G]\n", "r.yaml:2: disk is a list, not a single value", NULL},
        {"base: x\nnetwork: lan\n", "r.yaml:2: network: \"lan\" is neither user nor none", NULL},
        {"base: x\nenv: [A=1]\n", "r.yaml:2: env is a list, not a mapping", NULL},
        {"base: x\nsteps: {run: a}\n", "r.yaml:2: steps is a mapping (KEY: VALUE), not a list",
         NULL},
        {STEPS "  - make\n", "r.yaml:3: this is a single value, not a mapping", NULL},
        {STEPS "  - {}\n",
         "r.yaml:3: a step is one of packages, copy and run, and this one is "
         "none",
         NULL},
        {STEPS "  - run: a\n    packages: [b]\n", "r.yaml:3: a step is one of", NULL},
        {STEPS "  - run:\n", "r.yaml:3: run has no value", NULL},
        {STEPS "  - run: ' '\n", "r.yaml:3: run: it is empty", NULL},
        {"base: x\nsnapshot-after: ''\n", "r.yaml:2: snapshot-after: it is empty", NULL},
        {STEPS "  - run: a\n    timeouts: 3\n", "r.yaml:4: the key timeouts is not known here",
         "known are: packages, copy"},
        {STEPS "  - run: a\n    timeout: 0\n", "r.yaml:4: timeout: \"0\" is no number", NULL},
        {STEPS "  - run: a\n    to: /x\n", "r.yaml:4: to: only a copy has it", NULL},
        {STEPS "  - copy: a\n", "r.yaml:3: copy: it does not say where to", NULL},
        {STEPS "  - copy: a\n    to: x\n", "r.yaml:4: to: \"x\" is no absolute path", NULL},
        {STEPS "  - packages: nginx\n", "r.yaml:3: packages is a single value, not a list", NULL},
        {STEPS "  - packages: []\n", "r.yaml:3: packages: there is none", NULL},
        {STEPS "  - packages:\n      - a\n      - -o\n", "r.yaml:5: \"-o\" is no name of a package",
         NULL},
        {STEPS "  - packages: ['a b']\n", "r.yaml:3: \"a b\" is no name of a package", NULL},
        {STEPS "  - run: a\n    network: lan\n", "r.yaml:4: network: \"lan\" is neither", NULL},
        {"base: x\ndirectory: srv\n", "r.yaml:2: directory: \"srv\" is no absolute path", NULL},
        {"base: x\nports: [http]\n", "r.yaml:2: \"http\" is no port", NULL},
        {"base: x\nports: [80/sctp]\n", "r.yaml:2: \"80/sctp\" is no port", NULL},
        {"base: x\nsnapshot-timeout: 3\n", "r.yaml:2: snapshot-timeout: there is no", NULL},
        {"base: &a x\n", "r.yaml:1: anchors and tags are not known here", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_t *recipe = NULL;
        _cleanup_error_ Error error = ERROR_INIT;
        CHECK_INT(
            recipe_file_parse("r.yaml", cases[i].text, strlen(cases[i].text), &recipe, &error),
            -EINVAL);
        CHECK(!recipe);
        CHECK_INT(error.kind, ERROR_USAGE);
        CHECK_CONTAINS(error.message, cases[i].message);
        if (cases[i].hint)
            CHECK_CONTAINS(error.hint, cases[i].hint);
    }
}

int main(void) {
    RUN(everything_becomes_a_member);
    RUN(a_base_is_enough);
    RUN(seeds_are_one_or_several);
    RUN(mistakes_have_lines);
    return 0;
}
