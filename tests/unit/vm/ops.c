/* SPDX-License-Identifier: Apache-2.0 */

/* The life of VMs, with a scripted keeper (fake_keeper.c) in the place of the real one. */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process/process.h"
#include "base/str.h"
#include "catalog/images.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/operation.h"
#include "home/spec.h"
#include "machine/machine.h"
#include "run/hand_over.h"
#include "store/images.h"
#include "verbs/verbs.h"

#include "check.h"
#include "test_home.h"

static TestHome home;

static Operation operation(void) {
    Operation made;
    operation_init(&made, 0, -1);
    return made;
}

static void must(int r, const Error *error) {
    if (r < 0) {
        fprintf(stderr, "failed: %s\n", error_message(error));
        exit(1);
    }
}

static void remove_vm(const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op = operation();
    must(vm_remove(home.opened, &op, name, true, NULL, &error), &error);
}

static bool is_alive(pid_t pid) {
    return kill(pid, 0) == 0;
}

static bool folder_exists(const char *id) {
    _cleanup_free_ char *path = path_join(home.path, "vms", id);
    return access(path, F_OK) == 0;
}

static void test_run_and_stop(void) {
    static const char *const texts[] = {"id",       "name",    "state",     "image", "image_digest",
                                        "accel",    "machine", "ip",        "mac",   "boot",
                                        "hostname", "network", "created_at"};
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *vm = NULL, *stopped = NULL, *again = NULL;
    Operation op = operation();
    struct stat info;
    const char *disk;
    must(test_home_run(&home, "ok1", false, &vm, &error), &error);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        CHECK(vm_text(vm, texts[i]));
    CHECK_STR(vm_text(vm, "state"), "running");
    CHECK_STR(vm_text(vm, "boot"), "cold");
    CHECK(is_alive(vm_pid(vm, "qemu_pid")) && is_alive(vm_pid(vm, "keeper_pid")));
    CHECK_INT(vm_pid(vm, "memory_bytes"), 96 << 20);
    CHECK(json_array_size(json_object_get(vm, "stages")) >= 4);
    CHECK(json_is_integer(json_object_get(json_object_get(vm, "memory"), "private_bytes")));
    CHECK(json_is_null(json_object_get(vm, "error")));
    disk = vm_text(json_object_get(vm, "disk"), "path");
    CHECK_INT(stat(disk, &info), 0);
    if (geteuid() == 0)
        CHECK(info.st_uid >= 600000000);

    must(vm_stop(home.opened, &op, "ok1", USEC_PER_SEC, &stopped, &error), &error);
    CHECK_STR(vm_text(stopped, "state"), "stopped");
    CHECK(json_is_null(json_object_get(stopped, "qemu_pid")));
    CHECK_STR(vm_text(json_object_get(stopped, "exit"), "cause"), "poweroff");
    must(vm_stop(home.opened, &op, "ok1", USEC_PER_SEC, NULL, &error), &error);
    CHECK_INT(vm_kill(home.opened, &op, "ok1", NULL, &error), -EBUSY);
    must(vm_start(home.opened, &op, "ok1", false, &again, &error), &error);
    CHECK_STR(vm_text(again, "mac"), vm_text(vm, "mac"));
    CHECK(json_is_null(json_object_get(again, "exit")));
    CHECK_INT(vm_start(home.opened, &op, "ok1", false, NULL, &error), -EBUSY);
    CHECK_INT(error.kind, ERROR_CONFLICT);
    CHECK_INT(vm_remove(home.opened, &op, "ok1", false, NULL, &error), -EBUSY);
    remove_vm(vm_text(vm, "id"));
    CHECK(!test_home_state(&home, "ok1"));
    CHECK(!folder_exists(vm_text(vm, "id")));
}

static void test_stages_have_no_gaps(void) {
    _cleanup_json_ json_t *vm = NULL, *stages = NULL;
    json_int_t end = 0;
    json_t *stage;
    size_t i;
    CHECK_INT(test_home_run(&home, "ok-stages", false, &vm, NULL), 0);
    CHECK_INT(vm_stages(home.opened, "ok-stages", &stages, NULL), 0);
    json_array_foreach(json_object_get(stages, "stages"), i, stage) {
        CHECK_INT(json_integer_value(json_object_get(stage, "start_us")), end);
        end += json_integer_value(json_object_get(stage, "duration_us"));
    }
    CHECK_INT(json_integer_value(json_object_get(stages, "total_us")), end);
    CHECK_STR(vm_text(stages, "boot"), "cold");
    remove_vm("ok-stages");
}

static void test_failed_run_leaves_nothing(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *list = NULL;
    CHECK(test_home_run(&home, "fail1", false, NULL, &error) < 0);
    CHECK_INT(error.kind, ERROR_GUEST_NOT_READY);
    CHECK_CONTAINS(error_message(&error), "cannot start fail1: ");
    CHECK_CONTAINS(error_message(&error), "last line");
    CHECK(test_home_run(&home, "dies1", false, NULL, &error) < 0);
    CHECK_INT(vm_list(home.opened, true, NULL, &list, NULL), 0);
    CHECK_INT(json_array_size(list), 0);
}

static void test_failed_start_stays(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *vm = NULL;
    Operation op = operation();
    must(test_home_create(&home, "fail2", &vm, &error), &error);
    CHECK_STR(vm_text(vm, "state"), "created");
    CHECK(vm_start(home.opened, &op, "fail2", false, NULL, &error) < 0);
    json_decref(vm);
    must(vm_inspect(home.opened, "fail2", &vm, &error), &error);
    CHECK_STR(vm_text(vm, "state"), "failed");
    CHECK_STR(vm_text(json_object_get(vm, "error"), "code"),
              error_kind_code(ERROR_GUEST_NOT_READY));
    CHECK_INT(test_home_file_size(&home, "fail2", "starts"), 1);
    remove_vm("fail2");
}

static void test_silence_is_tried_again(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *events = NULL;
    Operation op = operation();
    json_t *event;
    size_t i, retries = 0;
    must(test_home_create(&home, "silent1", NULL, &error), &error);
    CHECK(vm_start(home.opened, &op, "silent1", false, NULL, &error) < 0);
    CHECK_INT(error.kind, ERROR_GUEST_NOT_READY);
    CHECK_INT(test_home_file_size(&home, "silent1", "starts"), 3);
    CHECK_INT(home_events(home.opened, 0, 10000, &events, NULL), 0);
    json_array_foreach(events, i, event) {
        retries += str_equal(vm_text(event, "type"), "vm.retry");
    }
    CHECK_INT(retries, 2);
    remove_vm("silent1");
}

static void test_client_goes_away(void) {
    _cleanup_close_ int cancel = eventfd(1, EFD_CLOEXEC);
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *list = NULL;
    _cleanup_vm_spec_ VmSpec spec;
    Operation op;
    vm_spec_init(&spec);
    (void)snprintf(spec.name, sizeof(spec.name), "slow-gone");
    (void)snprintf(spec.image, sizeof(spec.image), "test");
    operation_init(&op, 0, cancel);
    CHECK_INT(vm_run(home.opened, &op, &spec, true, NULL, &error), -ECANCELED);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    CHECK_INT(vm_list(home.opened, true, NULL, &list, NULL), 0);
    CHECK_INT(json_array_size(list), 0);
}

static void *start_slow(void *data) {
    Error *error = data;
    return (void *)(intptr_t)test_home_run(&home, "slow1", false, NULL, error);
}

static void test_kill_ends_a_start(void) {
    _cleanup_error_ Error error = ERROR_INIT, killed = ERROR_INIT;
    Operation op = operation();
    pthread_t thread;
    void *result;
    CHECK_INT(pthread_create(&thread, NULL, start_slow, &error), 0);
    test_home_await(&home, "slow1", "starting");
    must(vm_kill(home.opened, &op, "slow1", NULL, &killed), &killed);
    CHECK_INT(pthread_join(thread, &result), 0);
    CHECK_INT((intptr_t)result, -ECANCELED);
    CHECK_CONTAINS(error_message(&error), "killed while it started");
    CHECK(!test_home_state(&home, "slow1"));
}

static void test_pause(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *vm = NULL;
    Operation op = operation();
    must(test_home_run(&home, "ok-pause", false, NULL, &error), &error);
    CHECK_INT(vm_unpause(home.opened, &op, "ok-pause", NULL, &error), -EBUSY);
    must(vm_pause(home.opened, &op, "ok-pause", &vm, &error), &error);
    CHECK_STR(vm_text(vm, "state"), "paused");
    CHECK_INT(vm_hand_stream(home.opened, "ok-pause", "exec", NULL, 0, &error), -EBUSY);
    must(vm_unpause(home.opened, &op, "ok-pause", NULL, &error), &error);
    remove_vm("ok-pause");
}

static void test_hand_stream(void) {
    _cleanup_json_ json_t *request = json_pack("{s:[s], s:[s]}", "argv", "true", "env", "B=2");
    _cleanup_json_ json_t *bad = json_pack("{s:[s]}", "env", "B");
    _cleanup_error_ Error error = ERROR_INIT;
    int pair[2];
    char text[4096] = "";
    must(test_home_run(&home, "ok-exec", false, NULL, &error), &error);
    CHECK_INT(fd_socketpair(SOCK_STREAM, pair), 0);
    must(vm_hand_stream(home.opened, "ok-exec", "exec", request, pair[0], &error), &error);
    CHECK(read(pair[1], text, sizeof(text) - 1) > 0);
    CHECK_CONTAINS(text, "\"B=2\"");
    CHECK_CONTAINS(text, "\"op\":\"exec\"");
    CHECK_INT(vm_hand_stream(home.opened, "ok-exec", "exec", bad, pair[0], &error), -EINVAL);
    CHECK_INT(vm_hand_stream(home.opened, "ok-exec", "stop", NULL, pair[0], &error), -EINVAL);
    remove_vm("ok-exec");
    CHECK_INT(vm_hand_stream(home.opened, "ok-exec", "exec", request, pair[0], &error), -ENOENT);
    (void)close(pair[0]);
    (void)close(pair[1]);
}

static void test_ends_by_itself(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *vm = NULL;
    must(test_home_run(&home, "ok-off", false, NULL, &error), &error);
    test_home_write(&home, "ok-off", "cause", "poweroff");
    test_home_await(&home, "ok-off", "stopped");
    remove_vm("ok-off");
    must(test_home_run(&home, "ok-crash", false, NULL, &error), &error);
    test_home_write(&home, "ok-crash", "cause", "crashed");
    test_home_await(&home, "ok-crash", "failed");
    must(vm_inspect(home.opened, "ok-crash", &vm, &error), &error);
    CHECK_CONTAINS(vm_text(json_object_get(vm, "error"), "message"), "crashed");
    remove_vm("ok-crash");

    must(test_home_run(&home, "ok-rm", true, NULL, &error), &error);
    test_home_write(&home, "ok-rm", "cause", "owner-gone");
    test_home_await_gone(&home, "ok-rm");
}

static void test_reboot(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    must(test_home_run(&home, "ok-reboot", false, NULL, &error), &error);
    test_home_write(&home, "ok-reboot", "cause", "reboot");
    test_home_await_event(&home, "ok-reboot", "vm.running", 2);
    CHECK_INT(test_home_file_size(&home, "ok-reboot", "starts"), 2);
    remove_vm("ok-reboot");
}

static void test_keeper_killed(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *vm = NULL;
    ProcessIdentity qemu;
    must(test_home_run(&home, "ok-killed", false, &vm, &error), &error);
    CHECK_INT(process_identify(vm_pid(vm, "qemu_pid"), &qemu), 0);
    CHECK_INT(kill(vm_pid(vm, "keeper_pid"), SIGKILL), 0);
    test_home_await(&home, "ok-killed", "failed");
    CHECK_INT(process_wait_gone(&qemu, clock_monotonic_usec() + 60 * USEC_PER_SEC), 0);
    remove_vm("ok-killed");
}

static void *wait_stopped(void *data) {
    json_t **vm = data;
    Operation op = operation();
    CHECK_INT(vm_wait(home.opened, &op, "ok-wait", NULL, false, vm, NULL), 0);
    return NULL;
}

/* Somebody has found the VM and waits. */
static void await_waiter(void) {
    bool waits = false;
    while (!waits) {
        (void)pthread_mutex_lock(&home.opened->mutex);
        waits = home.opened->subscribers != NULL;
        (void)pthread_mutex_unlock(&home.opened->mutex);
        (void)usleep(1000);
    }
}

static void test_wait(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_close_ int cancel = eventfd(1, EFD_CLOEXEC);
    _cleanup_json_ json_t *vm = NULL, *gone = NULL;
    Operation op = operation(), cancelled;
    pthread_t thread;
    must(test_home_run(&home, "ok-wait", false, NULL, &error), &error);
    operation_init(&cancelled, 0, cancel);
    CHECK_INT(vm_wait(home.opened, &cancelled, "ok-wait", "stopped", false, NULL, &error),
              -ECANCELED);
    CHECK_INT(vm_wait(home.opened, &op, "ok-wait", "happy", false, NULL, &error), -EINVAL);
    CHECK_INT(pthread_create(&thread, NULL, wait_stopped, &vm), 0);
    must(vm_stop(home.opened, &op, "ok-wait", USEC_PER_SEC, NULL, &error), &error);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_STR(vm_text(vm, "state"), "stopped");
    must(vm_start(home.opened, &op, "ok-wait", false, NULL, &error), &error);
    CHECK_INT(pthread_create(&thread, NULL, wait_stopped, &gone), 0);
    await_waiter();
    remove_vm("ok-wait");
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK(json_is_object(gone));
}

static int winners;

static void *run_same(void *data) {
    _cleanup_error_ Error error = ERROR_INIT;
    int r = test_home_run(&home, "ok-same", false, NULL, &error);
    (void)data;
    if (r == 0)
        (void)__atomic_add_fetch(&winners, 1, __ATOMIC_RELAXED);
    else
        CHECK_INT(error.kind, ERROR_CONFLICT);
    return NULL;
}

static void test_one_name(void) {
    pthread_t threads[6];
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        CHECK_INT(pthread_create(&threads[i], NULL, run_same, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    CHECK_INT(winners, 1);
    remove_vm("ok-same");
}

static void *run_and_stop(void *data) {
    _cleanup_free_ char *name = str_format("ok-many%d", *(int *)data);
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op = operation();
    for (int i = 0; i < 3; i++) {
        must(test_home_run(&home, name, false, NULL, &error), &error);
        must(vm_stop(home.opened, &op, name, USEC_PER_SEC, NULL, &error), &error);
        must(vm_restart(home.opened, &op, name, false, USEC_PER_SEC, NULL, &error), &error);
        must(vm_remove(home.opened, &op, name, true, NULL, &error), &error);
    }
    return NULL;
}

static void test_many_at_once(void) {
    pthread_t threads[6];
    int numbers[6];
    for (int i = 0; i < 6; i++) {
        numbers[i] = i;
        CHECK_INT(pthread_create(&threads[i], NULL, run_and_stop, &numbers[i]), 0);
    }
    for (int i = 0; i < 6; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
}

static void test_refusals(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_vm_spec_ VmSpec spec;
    Operation op = operation();
    vm_spec_init(&spec);
    (void)snprintf(spec.image, sizeof(spec.image), "nosuch");
    CHECK_INT(vm_create(home.opened, &op, &spec, NULL, &error), -ENOENT);
    CHECK_INT(error.kind, ERROR_NOT_FOUND);
    (void)snprintf(spec.image, sizeof(spec.image), "test");
    spec.disk_bytes = 4096;
    CHECK_INT(vm_create(home.opened, &op, &spec, NULL, &error), -EINVAL);
    CHECK_CONTAINS(error_message(&error), "smaller than the image's");
    CHECK_INT(vm_start(home.opened, &op, "nosuch", false, NULL, &error), -ENOENT);
    CHECK_INT(vm_remove(home.opened, &op, "nosuch", true, NULL, &error), -ENOENT);
}

static void test_images(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *list = NULL, *image = NULL;
    Operation op = operation();
    must(test_home_create(&home, "ok-image", NULL, &error), &error);
    must(image_op_list(home.opened, &list, &error), &error);
    CHECK_INT(json_array_size(list), 1);
    must(image_op_inspect(home.opened, "test", &image, &error), &error);
    CHECK_INT(image_op_remove(home.opened, &op, "test", &error), -EBUSY);
    CHECK_CONTAINS(error_message(&error), "in use by VM ok-image");
    remove_vm("ok-image");
    must(image_op_remove(home.opened, &op, "test", &error), &error);
    CHECK(access(vm_text(image, "path"), F_OK) < 0);
    CHECK_INT(image_op_inspect(home.opened, "test", &image, &error), -ENOENT);
}

static void test_another_recipe_is_refused_at_once(void) {
    const ImageBuildOptions options = {.name = "made", .from = "debian:nosuch"};
    ImageRow row = {.name = "made", .digest = "sha256:aa"};
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op = operation();
    row.detail = json_pack("{s:s}", "source", "recipe busybox");
    must(images_insert(home_store(home.opened), &row, &error), &error);
    image_row_free(&row);
    CHECK_INT(image_op_build(home.opened, &op, &options, NULL, &error), -EEXIST);
    CHECK_INT(error.kind, ERROR_CONFLICT);
    must(images_delete(home_store(home.opened), "made", &error), &error);
}

int main(void) {
    test_home_make(&home);
    RUN(test_run_and_stop);
    RUN(test_stages_have_no_gaps);
    RUN(test_failed_run_leaves_nothing);
    RUN(test_failed_start_stays);
    RUN(test_silence_is_tried_again);
    RUN(test_client_goes_away);
    RUN(test_kill_ends_a_start);
    RUN(test_pause);
    RUN(test_hand_stream);
    RUN(test_ends_by_itself);
    RUN(test_reboot);
    RUN(test_keeper_killed);
    RUN(test_wait);
    RUN(test_one_name);
    RUN(test_many_at_once);
    RUN(test_refusals);
    RUN(test_images);
    RUN(test_another_recipe_is_refused_at_once);
    test_home_remove(&home);
    return 0;
}
