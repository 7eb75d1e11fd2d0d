/* SPDX-License-Identifier: Apache-2.0 */

/* Cold boot to ready through the API, beside plain QEMU with the same kernel (as a bzImage),
 * initramfs and disk until the same agent answers; in turn, so that both see the same machine. */

#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "bench/bench.h"
#include "bench/boot_files.h"
#include "disk/overlay.h"
#include "image/initramfs.h"

void boot_files_free(BootFiles *files) {
    kernel_bundle_free(&files->kernel);
    free(files->initrd);
    free(files->base);
    free(files->qemu);
}

static int find_initrd(const Bench *bench, BootFiles *files, Error *error) {
    const ImageContext context = {.home = bench->home, .cancel_fd = -1};
    _cleanup_free_ char *agent = path_find_sibling("ramet-agent");
    _cleanup_free_ char *key = NULL;
    if (!agent)
        return error_set(error, ERROR_NOT_FOUND, 0, "cannot find ramet-agent");
    return initramfs_ensure(&context, &files->kernel, agent, false, &files->initrd, &key, error);
}

static int find_image(const Bench *bench, BootFiles *files, Error *error) {
    _cleanup_json_ json_t *image = NULL;
    _cleanup_free_ char *path = str_format("/v1/images/%s", bench->image);
    const char *base, *key;
    int r = bench_call(bench, "GET", path, NULL, &image, error);
    if (r >= 0)
        r = json_get_string("the image", image, "path", &base, error);
    if (r >= 0)
        r = json_get_string("the image", image, "kernel_key", &key, error);
    if (r >= 0)
        r = kernel_bundle_open(bench->home, key, &files->kernel, error);
    if (r < 0)
        return r;
    files->base = str_copy(base);
    return find_initrd(bench, files, error);
}

static int find_qemu(const json_t *vm, BootFiles *files, Error *error) {
    const char *accel;
    int r = json_get_string("the VM", vm, "accel", &accel, error);
    if (r < 0)
        return r;
    (void)snprintf(files->accel, sizeof(files->accel), "%s", accel);
    const char *wanted = getenv("RAMET_QEMU");
    files->qemu = path_find_program(wanted ? wanted : "qemu-system-x86_64");
    return files->qemu ? 0 : error_set(error, ERROR_NOT_FOUND, 0, "cannot find qemu-system-x86_64");
}

int boot_files_find(const Bench *bench, const json_t *vm, BootFiles *files, Error *error) {
    int r = find_image(bench, files, error);
    return r < 0 ? r : find_qemu(vm, files, error);
}

int boot_files_with_disk(const Bench *bench, const BootFiles *files, PlainRun run, void *data,
                         Error *error) {
    _cleanup_free_ char *name = str_format("bench-%d.qcow2", (int)getpid());
    _cleanup_free_ char *tmp = path_join(bench->home, "tmp");
    _cleanup_free_ char *disk = path_join(tmp, name);
    _cleanup_close_ int dir = open(tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const OverlaySpec overlay = {.backing_path = files->base, .backing_format = "raw"};
    int r = overlay_create_at(dir, name, &overlay, error);
    if (r < 0)
        return r;
    const PlainBoot boot = {
        .qemu = files->qemu,
        .accel = files->accel,
        .kernel = files->kernel.bzimage,
        .initrd = files->initrd,
        .disk = disk,
        .cmdline = files->cmdline,
        .memory_bytes = bench->memory_bytes,
    };
    r = run(&boot, data, error);
    (void)unlink(disk);
    return r;
}

static int run_plain_boot(const PlainBoot *boot, void *data, Error *error) {
    return plain_boot(boot, data, error);
}

static int run_ramet(const Bench *bench, json_t **vm, uint64_t *usec, Error *error) {
    json_t *options =
        json_pack("{s:I,s:b}", "memory_bytes", (json_int_t)bench->memory_bytes, "cold", 1);
    int r = bench_vm_start(bench, options, vm, usec, error);
    return r < 0 ? r : bench_vm_remove(bench, *vm, error);
}

static int run_pair(const Bench *bench, const BootFiles *files, Samples *ramet, Samples *plain,
                    Error *error) {
    _cleanup_json_ json_t *vm = NULL;
    uint64_t usec;
    int r = run_ramet(bench, &vm, &usec, error);
    if (r < 0)
        return r;
    samples_add(ramet, (double)usec);
    r = boot_files_with_disk(bench, files, run_plain_boot, &usec, error);
    if (r < 0)
        return r;
    samples_add(plain, (double)usec);
    return 0;
}

int bench_boot(Bench *bench, Error *error) {
    _cleanup_(boot_files_free) BootFiles files = {0};
    _cleanup_json_ json_t *warm = NULL;
    static Samples ramet = {.name = "cold boot to ready", .unit = "us"};
    static Samples plain = {.name = "plain QEMU, bzImage, to the agent's answer", .unit = "us"};
    uint64_t usec;
    bench_say("warming up");
    int r = run_ramet(bench, &warm, &usec, error);
    if (r >= 0)
        r = boot_files_find(bench, warm, &files, error);
    for (size_t i = 0; r >= 0 && i < bench->runs; i++) {
        bench_say("boot %zu of %zu", i + 1, bench->runs);
        r = run_pair(bench, &files, &ramet, &plain, error);
    }
    if (r < 0)
        return r;
    report_add(bench->report, &plain);
    report_add_ratio(bench->report, &ramet, &plain, 0.75, 0);
    return 0;
}
