/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "disk/base_file.h"
#include "disk/publish.h"
#include "scratch.h"

static const char *program;

static PublishOptions options_for(const char *kind, const char *name) {
    return (PublishOptions){.home = scratch_path,
                            .kind = kind,
                            .name = name,
                            .deadline_usec = clock_monotonic_usec() + 60 * USEC_PER_SEC,
                            .cancel_fd = -1};
}

static mode_t mode_of(const char *path) {
    struct stat status;
    CHECK(stat(path, &status) == 0);
    return status.st_mode & 07777;
}

static void test_file(void) {
    _cleanup_(publish_free_p) Publish *publish = NULL, *again = NULL;
    PublishOptions options = options_for("images", "one");
    bool exists = true;
    CHECK_INT(publish_begin(&options, &publish, &exists, NULL), 0);
    CHECK(!exists && publish);
    CHECK_INT(fd_write_full(publish_scratch_fd(publish), "abc", 3), 0);
    CHECK_INT(access("images/one", F_OK), -1);
    CHECK_INT(publish_commit(publish, NULL), 0);
    CHECK_INT(mode_of("images/one"), 0444);
    CHECK_INT(file_size("images/one"), 3);
    CHECK_INT(publish_begin(&options, &again, &exists, NULL), 0);
    CHECK(exists && !again);
}

static void test_abort_leaves_nothing(void) {
    PublishOptions options = options_for("images", "two");
    Publish *publish = NULL;
    bool exists;
    CHECK_INT(publish_begin(&options, &publish, &exists, NULL), 0);
    CHECK_INT(mkdir(publish_extra_scratch(publish), 0700), 0);
    publish_free(publish);
    CHECK(folder_is_empty("tmp"));
    CHECK_INT(access("images/two", F_OK), -1);
}

static void test_folder(void) {
    _cleanup_(publish_free_p) Publish *publish = NULL;
    PublishOptions options = options_for("kernels", "key");
    bool exists;
    options.folder = true;
    CHECK_INT(publish_begin(&options, &publish, &exists, NULL), 0);
    SHELL("mkdir -p %s/a/b && echo x >%s/a/b/c && ln -s nowhere %s/link && chmod +x %s/a/b/c",
          publish_scratch_path(publish), publish_scratch_path(publish),
          publish_scratch_path(publish), publish_scratch_path(publish));
    CHECK_INT(publish_commit(publish, NULL), 0);
    CHECK_INT(mode_of("kernels/key/a/b/c"), 0555);
    CHECK_INT(mode_of("kernels/key/a"), 0755);
    CHECK_STR(strrchr(publish_path(publish), '/'), "/key");
}

static void test_commit_as(void) {
    PublishOptions options = options_for("images", "import-a");
    Publish *publish = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    char id[BASE_ID_SIZE];
    bool exists;
    for (int i = 0; i < 2; i++) { /* the second one finds it there: success */
        CHECK_INT(publish_begin(&options, &publish, &exists, NULL), 0);
        CHECK(!exists);
        CHECK_INT(fd_write_full(publish_scratch_fd(publish), "abc", 3), 0);
        CHECK_INT(base_digest(publish_scratch_fd(publish), -1, id, NULL), 0);
        CHECK_INT(base_publish(publish, id, NULL), 0);
        _cleanup_free_ char *expected = base_path(scratch_path, id);
        CHECK_STR(publish_path(publish), expected);
        publish_free(publish);
    }
    CHECK(folder_is_empty("tmp"));
    CHECK_INT(publish_begin(&options, &publish, &exists, NULL), 0);
    CHECK_INT(fd_write_full(publish_scratch_fd(publish), "abcd", 4), 0);
    CHECK_INT(base_publish(publish, id, &error), -EEXIST);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    publish_free(publish);
}

static void test_names_of_bases(void) {
    static const char *const good[] = {"tree1", "sha256", "src"};
    static const char *const bad[] = {"", "sources", "src-.raw", "sha256-aa.raw", "disk.raw"};
    char id[BASE_ID_SIZE], hex[SHA256_HEX_SIZE];
    _cleanup_free_ char *other = NULL, *capital = NULL;
    sha256_data("", 0, hex);
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        _cleanup_free_ char *name = str_format("%s-%s.raw", good[i], hex), *path = NULL;
        CHECK_INT(base_id_from_name(name, id), 0);
        path = base_path("/home", id);
        CHECK_STR(strrchr(path, '/') + 1, name);
        CHECK(base_id_is_old(id) == (i == 1));
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK_INT(base_id_from_name(bad[i], id), -EINVAL);
    other = str_format("md5-%s.raw", hex);
    capital = str_format("tree1-G%s.raw", hex + 1);
    CHECK_INT(base_id_from_name(other, id), -EINVAL);
    CHECK_INT(base_id_from_name(capital, id), -EINVAL);
}

static void check_same_file(const char *one, const char *other) {
    _cleanup_free_ char *a = base_path(scratch_path, one), *b = base_path(scratch_path, other);
    struct stat first, second;
    CHECK_INT(stat(a, &first) | stat(b, &second), 0);
    CHECK(first.st_ino == second.st_ino);
}

/* Twice, as after a crash in between; and for two files of one content. */
static void test_another_name(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    SHELL("mkdir -p images tmp && echo x >images/src-a.raw && echo x >images/src-b.raw");
    for (int i = 0; i < 2; i++) {
        CHECK_INT(base_add_name(scratch_path, "src:a", "tree1:x", NULL), 0);
        CHECK_INT(base_add_name(scratch_path, "src:b", "tree1:x", NULL), 0);
        check_same_file("src:a", "tree1:x");
        check_same_file("src:b", "tree1:x");
    }
    CHECK(folder_is_empty("tmp"));
    CHECK_INT(base_add_name(scratch_path, "src:c", "tree1:y", &error), -ENOENT);
    CHECK_INT(error.kind, ERROR_NOT_FOUND);
}

static void test_bad_names(void) {
    static const char *const NAMES[] = {"", "a/b", "..", ".hidden"};
    _cleanup_(publish_free_p) Publish *publish = NULL;
    bool exists;
    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        PublishOptions options = options_for("images", NAMES[i]);
        CHECK(publish_begin(&options, &publish, &exists, &error) < 0);
        CHECK_INT(error.kind, ERROR_USAGE);
    }
}

static void test_wait_is_bounded(void) {
    _cleanup_(publish_free_p) Publish *publish = NULL, *other = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    PublishOptions options = options_for("images", "waited");
    bool exists;
    int pipes[2];
    CHECK_INT(publish_begin(&options, &publish, &exists, NULL), 0);
    options.deadline_usec = clock_monotonic_usec() + 50 * USEC_PER_MSEC;
    CHECK(publish_begin(&options, &other, &exists, &error) < 0);
    CHECK_INT(error.kind, ERROR_TIMEOUT);
    CHECK_INT(pipe2(pipes, O_CLOEXEC), 0);
    close(pipes[1]);
    options.deadline_usec = 0;
    options.cancel_fd = pipes[0];
    CHECK(publish_begin(&options, &other, &exists, &error) < 0);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    close(pipes[0]);
}

/* ---- races: two threads in each of two processes ---- */

/* Appends a byte to FOLDER/builds for each build, so that builds are counted across processes. */
static int build(const char *name) {
    _cleanup_(publish_free_p) Publish *publish = NULL;
    PublishOptions options = options_for("images", name);
    bool exists;
    int r = publish_begin(&options, &publish, &exists, NULL), fd;
    if (r < 0 || exists)
        return r;
    fd = open("builds", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    r = fd_write_full(fd, "b", 1);
    close(fd);
    if (r >= 0)
        r = fd_write_full(publish_scratch_fd(publish), name, strlen(name));
    return r < 0 ? r : publish_commit(publish, NULL);
}

static void *build_many(void *data) {
    atomic_int *failures = data;
    char name[32];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "race-%d", i);
        if (build(name) < 0)
            atomic_fetch_add(failures, 1);
    }
    return NULL;
}

static int race_main(void) {
    atomic_int failures = 0;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, build_many, &failures), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return failures ? 1 : 0;
}

static pid_t start_self(const char *role) {
    char *argv[] = {(char *)program, (char *)role, scratch_path, NULL};
    pid_t pid;
    CHECK_INT(posix_spawn(&pid, program, NULL, NULL, argv, environ), 0);
    return pid;
}

static void test_race(void) {
    pid_t pids[2];
    int status;
    for (int i = 0; i < 2; i++)
        pids[i] = start_self("race");
    for (int i = 0; i < 2; i++) {
        CHECK_INT(waitpid(pids[i], &status, 0), pids[i]);
        CHECK_INT(status, 0);
    }
    CHECK_INT(file_size("builds"), 50);
    CHECK(folder_is_empty("tmp"));
}

/* Takes the lock, tells so by making the file "held", and waits to be killed. */
static int hold_main(void) {
    PublishOptions options = options_for("images", "killed");
    Publish *publish = NULL;
    bool exists;
    if (publish_begin(&options, &publish, &exists, NULL) < 0 || mkfifo("held", 0600) < 0)
        return 1;
    close(open("ready", O_WRONLY | O_CLOEXEC)); /* wakes the parent */
    for (;;)
        pause();
}

static void test_killed_builder(void) {
    _cleanup_(publish_free_p) Publish *publish = NULL;
    PublishOptions options = options_for("images", "killed");
    pid_t pid;
    bool exists;
    int status, fd;
    CHECK_INT(mkfifo("ready", 0600), 0);
    pid = start_self("hold");
    fd = open("ready", O_RDONLY | O_CLOEXEC); /* waits for the child */
    close(fd);
    CHECK_INT(access("held", F_OK), 0);
    CHECK_INT(kill(pid, SIGKILL), 0);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(publish_begin(&options, &publish, &exists, NULL), 0);
    CHECK(!exists);
    CHECK_INT(access("images/killed", F_OK), -1);
    CHECK_INT(shell_status("test $(ls tmp | wc -l) = 2"),
              0); /* the killed one's scratch and ours */
}

int main(int argc, char **argv) {
    if (argc == 3) {
        snprintf(scratch_path, sizeof(scratch_path), "%s", argv[2]);
        CHECK_INT(chdir(scratch_path), 0);
        return strcmp(argv[1], "race") == 0 ? race_main() : hold_main();
    }
    program = "/proc/self/exe";
    scratch_enter();
    RUN(test_file);
    RUN(test_abort_leaves_nothing);
    RUN(test_folder);
    RUN(test_commit_as);
    RUN(test_names_of_bases);
    RUN(test_another_name);
    RUN(test_bad_names);
    RUN(test_wait_is_bounded);
    RUN(test_race);
    RUN(test_killed_builder);
    return 0;
}
