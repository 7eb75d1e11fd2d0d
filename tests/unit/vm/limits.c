/* SPDX-License-Identifier: Apache-2.0 */

/* A folder of plain files stands for one of cgroup v2: what is written there is what the kernel
 * would have been told. */

#include "home/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "limits/cgroup.h"
#include "limits/cgroup_find.h"

#include "check.h"

/* What the kernel says to a write; 0: it takes it. Of that text alone, where one is told. */
static int refusal;
static const char *refused_text;

ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);

ssize_t __wrap_write(int fd, const void *data, size_t size) {
    bool meant =
        refusal &&
        (!refused_text || (size == strlen(refused_text) && memcmp(data, refused_text, size) == 0));
    if (!meant)
        return __real_write(fd, data, size);
    errno = refusal;
    return -1;
}

static char folder[] = "/tmp/limits-XXXXXX";

static int parse(const char *text, VmLimits *limits, Error *error) {
    _cleanup_json_ json_t *json = NULL;
    CHECK_INT(json_parse("test", text, strlen(text), &json, NULL), 0);
    return vm_limits_parse(json, limits, error);
}

/* ---- what clients say ---- */

static void limits_are_read(void) {
    VmLimits limits = {0};
    CHECK_INT(parse("{\"cpu_limit\":\"1.25\",\"memory_limit\":\"1G\",\"pids_limit\":200,"
                    "\"io_limit\":\"ops=500,bytes=10M\"}",
                    &limits, NULL),
              0);
    CHECK_INT(limits.cpu_thousandths, 1250);
    CHECK_INT(limits.memory_bytes, GIB);
    CHECK_INT(limits.pids, 200);
    CHECK_INT(limits.io_bytes, 10 * MIB);
    CHECK_INT(limits.io_ops, 500);
    CHECK_INT(parse("{\"cpu_limit\":\".5\"}", &limits, NULL), -EINVAL);
    CHECK_INT(parse("{\"cpu_limit\":\"0.5\",\"io_limit\":\"bytes=64K\"}", &limits, NULL), 0);
    CHECK_INT(limits.cpu_thousandths, 500);
    CHECK_INT(limits.io_bytes, 64 * KIB);
    CHECK_INT(limits.io_ops, 0);
    CHECK_INT(limits.pids, 200); /* absent: as it was */
    CHECK_INT(
        parse("{\"cpu_limit\":\"0\",\"memory_limit\":\"0\",\"pids_limit\":0,\"io_limit\":\"\"}",
              &limits, NULL),
        0);
    CHECK(vm_limits_are_none(&limits));
    _cleanup_json_ json_t *none = vm_limits_describe(&limits);
    CHECK(json_is_null(none));
}

static void wrong_limits_are_refused(void) {
    static const char *const wrong[] = {"{\"cpu_limit\":\"0.01\"}",
                                        "{\"cpu_limit\":\"-1\"}",
                                        "{\"cpu_limit\":\"1.2345\"}",
                                        "{\"cpu_limit\":\"1.\"}",
                                        "{\"cpu_limit\":\"99999\"}",
                                        "{\"cpu_limit\":\"1e3\"}",
                                        "{\"cpu_limit\":0.5}",
                                        "{\"memory_limit\":\"1K\"}",
                                        "{\"memory_limit\":\"much\"}",
                                        "{\"memory_limit\":\"99999999T\"}",
                                        "{\"pids_limit\":3}",
                                        "{\"pids_limit\":-3}",
                                        "{\"pids_limit\":99999999}",
                                        "{\"io_limit\":\"10M\"}",
                                        "{\"io_limit\":\"bytes=1\"}",
                                        "{\"io_limit\":\"bytes=1M,bytes=2M\"}",
                                        "{\"io_limit\":\"ops=0\"}",
                                        "{\"io_limit\":\"ops=1k\"}",
                                        "{\"io_limit\":\"speed=1M\"}",
                                        "{\"io_limit\":\"bytes=9999999999999T\"}",
                                        "{\"io_limit\":\"bytes=1M,,ops\"}"};
    const VmLimits before = {.cpu_thousandths = 700, .pids = 99};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        VmLimits limits = before;
        if (parse(wrong[i], &limits, &error) >= 0 || error.kind != ERROR_USAGE)
            fprintf(stderr, "%s was taken\n", wrong[i]);
        CHECK_INT(error.kind, ERROR_USAGE);
        CHECK(vm_limits_equal(&before, &limits));
    }
}

/* ---- the folder ---- */

static void put(const char *name, const char *text) {
    _cleanup_free_ char *path = path_join(folder, name);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_INT(fd_write_full(fd, text, strlen(text)), 0);
}

static void expect(const char *name, const char *text) {
    _cleanup_free_ char *path = path_join(folder, name), *found = NULL;
    CHECK_INT(fd_read_file_at(AT_FDCWD, path, 4096, &found, NULL), 0);
    CHECK_STR(found, text);
}

static void take_away(const char *name) {
    _cleanup_free_ char *path = path_join(folder, name);
    CHECK_INT(unlink(path), 0);
}

static void make_vm(const char *name) {
    static const char *const files[] = {"cpu.max", "memory.max", "pids.max", "cgroup.procs"};
    _cleanup_free_ char *path = path_join(folder, name);
    (void)mkdir(path, 0700);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        _cleanup_free_ char *file = str_format("%s/%s", name, files[i]);
        put(file, "");
    }
}

static void remove_vm(const char *name) {
    _cleanup_free_ char *path = path_join(folder, name);
    CHECK_INT(path_remove_tree_at(AT_FDCWD, path), 0);
}

static Cgroup open_folder(void) {
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0);
    return (Cgroup){.fd = fd, .path = folder};
}

static const VmLimits all = {.cpu_thousandths = 500, .memory_bytes = GIB, .pids = 100};
static const VmLimits only_cpu = {.cpu_thousandths = 1500};

static void controllers_are_handed_down(void) {
    Cgroup cgroup = open_folder();
    put("cgroup.controllers", "cpuset cpu io memory pids\n");
    put("cgroup.subtree_control", "");
    CHECK_INT(cgroup_delegate(&cgroup, &only_cpu, NULL), 0);
    expect("cgroup.subtree_control", "+cpu");
    put("cgroup.subtree_control", "cpu memory pids\n");
    CHECK_INT(cgroup_delegate(&cgroup, &all, NULL), 0);
    expect("cgroup.subtree_control", "cpu memory pids\n"); /* nothing to be written */
    fd_close(cgroup.fd);
}

static void missing_controllers_are_told(void) {
    Cgroup cgroup = open_folder();
    _cleanup_error_ Error error = ERROR_INIT;
    put("cgroup.controllers", "cpuset io memory\n"); /* cpuset is no cpu */
    CHECK_INT(cgroup_check(&cgroup, &only_cpu, &error), -ENOTSUP);
    CHECK_INT(error.kind, ERROR_UNSUPPORTED);
    CHECK_CONTAINS(error_message(&error), "no controller \"cpu\"");
    CHECK_CONTAINS(error.hint, "--cpu-limit");
    put("cgroup.controllers", "cpu memory\n");
    CHECK_INT(cgroup_check(&cgroup, &only_cpu, NULL), 0);
    CHECK_INT(cgroup_delegate(&cgroup, &all, &error), -ENOTSUP);
    CHECK_CONTAINS(error_message(&error), "no controller \"pids\"");
    put("cgroup.controllers", "");
    CHECK_INT(cgroup_check(&cgroup, &only_cpu, NULL), -ENOTSUP);
    take_away("cgroup.controllers"); /* no cgroup v2 at all */
    CHECK_INT(cgroup_check(&cgroup, &only_cpu, &error), -ENOENT);
    CHECK_INT(error.kind, ERROR_UNSUPPORTED);
    fd_close(cgroup.fd);
}

static void limits_are_written(void) {
    static const pid_t pids[] = {1234567};
    Cgroup cgroup = open_folder();
    make_vm("vm");
    CHECK_INT(cgroup_limit(&cgroup, "vm", &all, pids, 1, NULL), 0);
    expect("vm/cpu.max", "50000 100000");
    expect("vm/memory.max", "1073741824");
    expect("vm/pids.max", "100");
    expect("vm/cgroup.procs", "1234567");
    make_vm("vm"); /* the same one again: the others are ended */
    CHECK_INT(cgroup_limit(&cgroup, "vm", &only_cpu, pids, 1, NULL), 0);
    expect("vm/cpu.max", "150000 100000");
    expect("vm/memory.max", "max");
    expect("vm/pids.max", "max");
    remove_vm("vm");
    fd_close(cgroup.fd);
}

static void limits_that_were_left_out_are_seen(void) {
    Cgroup cgroup = open_folder();
    _cleanup_error_ Error error = ERROR_INIT;
    put("cpu.max", "50000 100000\n");
    put("memory.max", "1073741824\n");
    put("pids.max", "100\n");
    CHECK_INT(cgroup_verify(&cgroup, &all, NULL), 0);
    put("memory.max", "max\n");
    CHECK_INT(cgroup_verify(&cgroup, &all, &error), -ENOTSUP);
    CHECK_CONTAINS(error_message(&error), "memory cannot be limited");
    take_away("memory.max");
    CHECK_INT(cgroup_verify(&cgroup, &all, &error), -ENOTSUP);
    put("cpu.max", "max 100000\n");
    CHECK_INT(cgroup_verify(&cgroup, &only_cpu, &error), -ENOTSUP);
    CHECK_CONTAINS(error_message(&error), "CPUs cannot be limited");
    fd_close(cgroup.fd);
}

/* What cannot be written leaves no folder that was made for it. */
static void failures_are_undone(void) {
    static const pid_t pids[] = {1234567};
    _cleanup_free_ char *vm = path_join(folder, "new");
    Cgroup cgroup = open_folder();
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(cgroup_limit(&cgroup, "new", &all, pids, 1, &error), -ENOTSUP); /* an empty folder */
    CHECK_CONTAINS(error_message(&error), "no controller \"cpu\"");
    CHECK(access(vm, F_OK) < 0);
    make_vm("old");
    take_away("old/cgroup.procs");
    CHECK_INT(cgroup_limit(&cgroup, "old", &all, pids, 1, &error), -ENOENT);
    CHECK_CONTAINS(error_message(&error), "cgroup.procs");
    CHECK_INT(cgroup_remove(&cgroup, "old"), -ENOTEMPTY); /* as -EBUSY of the kernel's */
    remove_vm("old");
    CHECK_INT(cgroup_remove(&cgroup, "old"), 0);
    fd_close(cgroup.fd);
}

static void refusals_have_a_hint(void) {
    static const struct {
        int error;
        ErrorKind kind;
        const char *hint;
    } cases[] = {{EBUSY, ERROR_UNSUPPORTED, "processes are in that folder itself"},
                 {EOPNOTSUPP, ERROR_UNSUPPORTED, "processes are in that folder itself"},
                 {EACCES, ERROR_PERMISSION, "delegated to this user"},
                 {EROFS, ERROR_PERMISSION, "RAMET_CGROUP"}};
    static const pid_t pids[] = {1234567, 1234568};
    Cgroup cgroup = open_folder();
    put("cgroup.controllers", "cpu memory pids\n");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_error_ Error error = ERROR_INIT, other = ERROR_INIT;
        put("cgroup.subtree_control", "");
        make_vm("vm");
        refusal = cases[i].error;
        CHECK_INT(cgroup_delegate(&cgroup, &all, &error), -cases[i].error);
        CHECK_INT(cgroup_limit(&cgroup, "vm", &all, pids, 2, &other), -cases[i].error);
        refusal = 0;
        CHECK_INT(error.kind, cases[i].kind);
        CHECK_CONTAINS(error.hint, cases[i].hint);
        CHECK_CONTAINS(error_message(&error), folder);
        CHECK_CONTAINS(error_message(&other), "cpu.max");
    }
    fd_close(cgroup.fd);
}

/* Who has ended meanwhile is none of the VM's any more. */
static void processes_that_ended_are_passed_over(void) {
    static const pid_t pids[] = {1234567, 1234568};
    Cgroup cgroup = open_folder();
    make_vm("vm");
    refusal = ESRCH;
    refused_text = "1234567";
    CHECK_INT(cgroup_limit(&cgroup, "vm", &all, pids, 2, NULL), 0);
    refusal = 0;
    refused_text = NULL;
    expect("vm/cgroup.procs", "1234568");
    remove_vm("vm");
    fd_close(cgroup.fd);
}

/* ---- where it is ---- */

static void mounts_are_found(void) {
    _cleanup_free_ char *mount = cgroup_find_mount(
        "25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
        "31 25 0:26 / /sys/fs/cgroup\\040x rw - cgroup2 cgroup2 rw\n"
        "32 25 0:26 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
        "33 25 0:27 / /mnt rw - cgroup2 none rw\n");
    CHECK_STR(mount, "/sys/fs/cgroup/unified");
    CHECK(!cgroup_find_mount("25 30 0:23 / /sys/fs/cgroup rw - cgroup cgroup rw,cpu\n"));
    CHECK(!cgroup_find_mount(""));
    CHECK(!cgroup_find_mount("a - cgroup2 b"));
    _cleanup_free_ char *path = cgroup_find_path("5:cpu:/x\n0::/user.slice/a b\n"),
                        *root = cgroup_find_path("0::/");
    CHECK_STR(path, "/user.slice/a b");
    CHECK_STR(root, "/");
    CHECK(!cgroup_find_path("1:name=systemd:/\n"));
    CHECK(!cgroup_find_path("0::"));
}

int main(void) {
    CHECK(mkdtemp(folder) != NULL);
    RUN(limits_are_read);
    RUN(wrong_limits_are_refused);
    RUN(controllers_are_handed_down);
    RUN(missing_controllers_are_told);
    RUN(limits_are_written);
    RUN(limits_that_were_left_out_are_seen);
    RUN(failures_are_undone);
    RUN(refusals_have_a_hint);
    RUN(processes_that_ended_are_passed_over);
    RUN(mounts_are_found);
    CHECK_INT(path_remove_tree_at(AT_FDCWD, folder), 0);
    return 0;
}
