/* SPDX-License-Identifier: Apache-2.0 */
#include "image/recipe.h"

#include "crafted.h"
#include "image/command.h"

static void test_names(void) {
    static const char *const good[] = {"busybox", "debian", "debian:bookworm", "debian:trixie"};
    static const char *const bad[] = {
        "",           "busyboxes",   "busybox:1",  "debian:", "debian:-x",
        "debian:a/b", "debian:../x", "debian:a b", "fedora"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        CHECK(image_recipe_exists(good[i]));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK(!image_recipe_exists(bad[i]));
    const char *suite = NULL;
    CHECK(recipe_find("debian:sid", &suite) == &recipe_debian);
    CHECK_STR(suite, "sid");
    CHECK_INT(image_init_from_name(image_init_name(IMAGE_INIT_SYSTEMD)), IMAGE_INIT_SYSTEMD);
}

static void test_include(void) {
    const char *lists[] = {"redis-server,g++", "libstdc++6", ",curl,"};
    StrList packages = {0};
    CHECK_INT(recipe_parse_include(lists, 3, &packages, NULL), 0);
    CHECK_INT(packages.count, 4);
    CHECK_STR(packages.items[1], "g++");
    CHECK_STR(packages.items[3], "curl");
    strlist_free(&packages);
    static const char *const bad[] = {"a", "-o", "Curl", "a b", "curl;rm", "a/b", "+x", "$(id)"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        CHECK(recipe_parse_include(&bad[i], 1, &packages, &error) < 0);
        CHECK_INT(error.kind, ERROR_USAGE);
        CHECK_INT(packages.count, 0);
    }
}

static void check_refused(const ImageBuildRequest *request, const char *part) {
    ImageContext context = crafted_context("refused");
    _cleanup_error_ Error error = ERROR_INIT;
    ImageInfo info = {0};
    CHECK(image_build(&context, request, &info, &error) < 0);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK_CONTAINS(error_message(&error), part);
    CHECK(!info.path);
}

static void test_refused(void) {
    const char *include[] = {"curl"}, *evil[] = {"--opt"};
    check_refused(&(ImageBuildRequest){.name = "../x", .recipe = "busybox"}, "name");
    check_refused(&(ImageBuildRequest){.name = "x", .recipe = "fedora"}, "no recipe 'fedora'");
    check_refused(
        &(ImageBuildRequest){.name = "x", .recipe = "busybox", .include = include, .n_include = 1},
        "takes no packages");
    check_refused(
        &(ImageBuildRequest){.name = "x", .recipe = "debian", .include = evil, .n_include = 1},
        "no name of a package");
    check_refused(&(ImageBuildRequest){.name = "x", .recipe = "busybox", .size_bytes = 1000},
                  "1 MiB");
}

typedef struct Seen {
    size_t lines;
    char last[64];
} Seen;

static void see_line(void *data, const char *line) {
    Seen *seen = data;
    seen->lines++;
    (void)snprintf(seen->last, sizeof(seen->last), "%s", line);
}

static void test_stream(void) {
    ImageContext context = crafted_context("home");
    _cleanup_error_ Error error = ERROR_INIT;
    Seen seen = {0};
    char *good[] = {(char *)"sh", (char *)"-c",
                    (char *)"echo one; printf 'two\\033[1m\\r\\nthree' >&2", NULL};
    CHECK_INT(command_run(&context, good, see_line, &seen, &error), 0);
    CHECK_INT(seen.lines, 3);
    CHECK_STR(seen.last, "three");
    char *bad[] = {(char *)"sh", (char *)"-c",
                   (char *)"echo tar: changed; echo I: fine; echo W: hm; echo E: because; "
                           "echo E: so; echo later; exit 3",
                   NULL};
    CHECK(command_run(&context, bad, see_line, &seen, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "status 3: tar: changed | W: hm | E: because");
    CHECK(!strstr(error_message(&error), "E: so"));
    char *quiet[] = {(char *)"sh", (char *)"-c", (char *)"echo first; echo last; exit 4", NULL};
    CHECK(command_run(&context, quiet, see_line, &seen, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "status 4: last");
    char *none[] = {(char *)"/nonexistent/tool", NULL};
    CHECK(command_run(&context, none, see_line, &seen, &error) < 0);
    int pair[2];
    CHECK_INT(pipe2(pair, O_CLOEXEC), 0);
    CHECK_INT(close(pair[1]), 0); /* hung up */
    context.cancel_fd = pair[0];
    char *endless[] = {(char *)"sh", (char *)"-c", (char *)"while :; do echo x; done", NULL};
    CHECK(command_run(&context, endless, see_line, &seen, &error) < 0);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    CHECK_INT(close(pair[0]), 0);
}

/* The real recipe, with a crafted kernel so that nothing is downloaded. */
static void build_busybox(const char *home, mode_t mask, ImageInfo *info) {
    ImageContext context = crafted_context(home);
    _cleanup_free_ char *kernel = crafted_kernel("bz", "gzip -9", true);
    _cleanup_error_ Error error = ERROR_INIT;
    ImageBuildRequest request = {
        .name = "busybox", .recipe = "busybox", .kernel = {.kernel = kernel}};
    mode_t before = umask(mask);
    if (image_build(&context, &request, info, &error) < 0)
        fprintf(stderr, "%s\n", error_message(&error));
    (void)umask(before);
    CHECK(info->path);
}

static void test_busybox(void) {
    if (access("/bin/busybox", X_OK) < 0 || !crafted_has("mke2fs") || !crafted_has("debugfs")) {
        printf("  without busybox-static or e2fsprogs\n");
        return;
    }
    _cleanup_image_info_ ImageInfo first = {0}, second = {0};
    build_busybox("one", 022, &first);
    build_busybox("two", 077, &second);
    CHECK_STR(first.digest, second.digest);
    CHECK_INT(first.init, IMAGE_INIT_AGENT);
    CHECK_INT(first.virtual_bytes, 256 * MIB);
    CHECK(first.allocated_bytes < 16 * MIB);
    CHECK_STR(first.source, "recipe busybox");
    _cleanup_free_ char *check = str_format("e2fsck -fn %s > fsck.log 2>&1", first.path);
    crafted_shell(check);
    _cleanup_free_ char *list = str_format("debugfs -R 'ls -p /sbin' %s 2>/dev/null > sbin && ! "
                                           "grep -q '/init/' sbin && grep -q '/ip/' sbin",
                                           first.path);
    crafted_shell(list);
    crafted_shell("test -z \"$(ls one/tmp)\"");
}

int main(void) {
    crafted_begin();
    RUN(test_names);
    RUN(test_include);
    RUN(test_refused);
    RUN(test_stream);
    RUN(test_busybox);
    return 0;
}
