/* SPDX-License-Identifier: Apache-2.0 */

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "frozen/hot_memory.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/operation.h"
#include "home/spec.h"
#include "image/context.h"
#include "image/kernel.h"
#include "machine/machine.h"
#include "machine/refresh.h"
#include "network/revive.h"
#include "qemu/features.h"
#include "run/hand_over.h"
#include "run/watcher.h"
#include "store/images.h"
#include "verbs/verbs.h"

#include "check.h"
#include "test_home.h"

#define QEMU "/bin/true"
#define DIGEST_HEX "00000000000000000000000000000000000000000000000000000000000000aa"

static void must(int r, const Error *error) {
    if (r < 0) {
        fprintf(stderr, "failed: %s\n", error_message(error));
        exit(1);
    }
}

/* So that nobody asks it what it can do. */
static void remember_features(const char *path) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_free_ char *text = NULL, *real = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *json = NULL;
    QemuFeatures features = {.microvm = true,
                             .q35 = true,
                             .tcg = true,
                             .memory_file = true,
                             .save_devices = true,
                             .chardev_fd = true,
                             .fdset = true,
                             .user_network = true,
                             .sandbox = true,
                             .snapshot = true,
                             .suppress_vmdesc = true};
    struct stat info;
    must(qemu_find_binary(QEMU, &real, &error), &error);
    CHECK_INT(stat(real, &info), 0);
    features.binary = real;
    features.size_bytes = (uint64_t)info.st_size;
    features.mtime_nsec =
        (uint64_t)info.st_mtim.tv_sec * 1000000000 + (uint64_t)info.st_mtim.tv_nsec;
    (void)snprintf(features.sha256, sizeof(features.sha256), "%064d", 1);
    (void)snprintf(features.version, sizeof(features.version), "1");
    json = qemu_features_to_json(&features);
    text = json_to_text(json);
    CHECK_INT(path_write_atomic_at(fd, "qemu-features.json", text, strlen(text), 0600), 0);
}

/* Any program for x86-64 will do as a kernel here. */
static char *make_kernel(const char *path) {
    _cleanup_free_ char *self = path_find_sibling("fake-keeper");
    const KernelSource source = {.kernel = self};
    const ImageContext context = {.home = path, .cancel_fd = -1};
    _cleanup_kernel_bundle_ KernelBundle bundle = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    must(kernel_bundle_ensure(&context, &source, &bundle, &error), &error);
    return str_copy(bundle.key);
}

static void add_image(TestHome *home) {
    _cleanup_free_ char *key = make_kernel(home->path);
    _cleanup_free_ char *base = base_path(home->path, "sha256:" DIGEST_HEX);
    _cleanup_image_row_ ImageRow row = {.name = "test", .digest = "sha256:" DIGEST_HEX};
    _cleanup_close_ int fd = open(base, O_RDWR | O_CREAT | O_CLOEXEC, 0444);
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(ftruncate(fd, 1 << 20), 0);
    row.detail = json_pack("{s:i, s:i, s:s, s:i}", "virtual_bytes", 1 << 20, "minimum_disk_bytes",
                           1 << 20, "kernel_key", key, "default_memory_bytes", 96 << 20);
    must(images_insert(home_store(home->opened), &row, &error), &error);
}

void test_home_open(TestHome *home) {
    _cleanup_free_ char *keeper = path_find_sibling("fake-keeper");
    const HomeOptions options = {
        .path = home->path, .qemu = QEMU, .accel = "tcg", .keeper = keeper, .agent = keeper};
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(keeper);
    must(home_open(&options, &home->opened, &error), &error);
    hot_memory_start(home->opened);
    must(watcher_start(home->opened, vm_refresh_later, &error), &error);
    must(network_attach_start(home->opened, &error), &error);
}

void test_home_make(TestHome *home) {
    (void)snprintf(home->path, sizeof(home->path), "/tmp/ramet-test-vm-XXXXXX");
    CHECK(mkdtemp(home->path));
    remember_features(home->path);
    (void)setenv("RAMET_BOOT_CACHE", "off", 0); /* but for the tests of it */
    test_home_open(home);
    add_image(home);
}

void test_home_close(TestHome *home) {
    home->opened = home_close(home->opened);
}

void test_home_remove(TestHome *home) {
    test_home_close(home);
    CHECK_INT(path_remove_tree(home->path), 0);
}

static void fill_spec(VmSpec *spec, const char *name, bool remove) {
    vm_spec_init(spec);
    (void)snprintf(spec->name, sizeof(spec->name), "%s", name);
    (void)snprintf(spec->image, sizeof(spec->image), "test");
    spec->remove = remove;
}

int test_home_run(TestHome *home, const char *name, bool remove, json_t **vm, Error *error) {
    _cleanup_vm_spec_ VmSpec spec;
    Operation operation;
    fill_spec(&spec, name, remove);
    operation_init(&operation, 0, -1);
    return vm_run(home->opened, &operation, &spec, remove, vm, error);
}

int test_home_create(TestHome *home, const char *name, json_t **vm, Error *error) {
    _cleanup_vm_spec_ VmSpec spec;
    Operation operation;
    fill_spec(&spec, name, false);
    operation_init(&operation, 0, -1);
    return vm_create(home->opened, &operation, &spec, vm, error);
}

static int open_folder(TestHome *home, const char *vm) {
    _cleanup_error_ Error error = ERROR_INIT;
    char id[33];
    int fd = -1;
    must(vm_open_folder(home->opened, vm, id, &fd, &error), &error);
    return fd;
}

void test_home_write(TestHome *home, const char *vm, const char *name, const char *text) {
    _cleanup_close_ int fd = open_folder(home, vm);
    CHECK_INT(path_write_atomic_at(fd, name, text, strlen(text), 0600), 0);
}

size_t test_home_file_size(TestHome *home, const char *vm, const char *name) {
    _cleanup_close_ int fd = open_folder(home, vm);
    struct stat info;
    return fstatat(fd, name, &info, 0) == 0 ? (size_t)info.st_size : 0;
}

size_t test_home_count_vm_folders(TestHome *home) {
    _cleanup_free_ char *path = path_join(home->path, "vms");
    DIR *dir = opendir(path);
    struct dirent *entry;
    size_t count = 0;
    CHECK(dir);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.') {
            printf("# vms/%s\n", entry->d_name);
            count++;
        }
    (void)closedir(dir);
    return count;
}

char *test_home_state(TestHome *home, const char *vm) {
    _cleanup_json_ json_t *json = NULL;
    return vm_inspect(home->opened, vm, &json, NULL) < 0 ? NULL : str_copy(vm_text(json, "state"));
}

typedef struct Awaited {
    const char *vm;
    const char *what; /* a state (NULL: gone) or an event */
    size_t count;     /* of events; 0: a state */
} Awaited;

static bool event_came(TestHome *home, const Awaited *awaited) {
    _cleanup_json_ json_t *events = NULL;
    size_t i, count = 0;
    json_t *event;
    CHECK_INT(home_events(home->opened, 0, 100000, &events, NULL), 0);
    json_array_foreach(events, i, event) {
        count += str_equal(vm_text(event, "type"), awaited->what) &&
                 str_equal(vm_text(event, "name"), awaited->vm);
    }
    return count >= awaited->count;
}

static bool has_come(TestHome *home, const Awaited *awaited) {
    _cleanup_free_ char *state = NULL;
    if (awaited->count > 0)
        return event_came(home, awaited);
    state = test_home_state(home, awaited->vm);
    return str_equal(state, awaited->what);
}

static void await(TestHome *home, const Awaited *awaited) {
    int fd = home_subscribe(home->opened);
    while (!has_come(home, awaited)) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        uint64_t count;
        if (poll(&poll_fd, 1, 60000) <= 0) {
            fprintf(stderr, "%s: %s did not come\n", awaited->vm,
                    awaited->what ? awaited->what : "its end");
            exit(1);
        }
        (void)fd_read_full(fd, &count, sizeof(count));
    }
    home_unsubscribe(home->opened, fd);
}

void test_home_await(TestHome *home, const char *vm, const char *state) {
    await(home, &(Awaited){.vm = vm, .what = state});
}

void test_home_await_event(TestHome *home, const char *vm, const char *type, size_t count) {
    await(home, &(Awaited){.vm = vm, .what = type, .count = count});
}

void test_home_await_gone(TestHome *home, const char *vm) {
    await(home, &(Awaited){.vm = vm});
}

const char *vm_text(const json_t *vm, const char *key) {
    return json_string_value(json_object_get(vm, key));
}

pid_t vm_pid(const json_t *vm, const char *key) {
    return (pid_t)json_integer_value(json_object_get(vm, key));
}
