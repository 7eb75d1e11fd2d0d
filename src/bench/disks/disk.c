/* SPDX-License-Identifier: Apache-2.0 */

/* Overlays beside `qemu-img create -b`, both flushed to the disk; and the disks of eight VMs from
 * one .img.zst beside one `zstd -d --sparse` of it, which flushes nothing. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "bench/bench.h"
#include "bench/scratch.h"
#include "disk/overlay.h"

#define SAMPLE_DISK_BYTES (1638 * MIB)
#define BENCH_VMS 8

static int overlay_by_ramet(int dir, const char *base, size_t number, uint64_t *usec,
                            Error *error) {
    _cleanup_free_ char *name = str_format("ours-%zu.qcow2", number);
    const OverlaySpec spec = {.backing_path = base, .backing_format = "raw"};
    uint64_t start = clock_monotonic_usec();
    int r = overlay_create_at(dir, name, &spec, error);
    *usec = clock_monotonic_usec() - start;
    return r;
}

static int overlay_by_qemu_img(const char *folder, const char *base, size_t number, uint64_t *usec,
                               Error *error) {
    _cleanup_free_ char *path = str_format("%s/theirs-%zu.qcow2", folder, number);
    const char *argv[] = {"qemu-img", "create", "-q",  "-f", "qcow2", "-b",
                          base,       "-F",     "raw", path, NULL};
    uint64_t start = clock_monotonic_usec();
    int r = bench_run_tool((char *const *)argv, error);
    if (r >= 0)
        r = bench_sync_path(path, error);
    if (r >= 0)
        r = bench_sync_path(folder, error);
    *usec = clock_monotonic_usec() - start;
    return r;
}

static int bench_overlays(Bench *bench, const char *folder, const char *base, Error *error) {
    static Samples ours = {.name = "overlay", .unit = "us"};
    static Samples theirs = {.name = "qemu-img create -b, and fsync", .unit = "us"};
    _cleanup_close_ int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return error_set_errno(error, errno, "cannot open %s", folder);
    for (size_t i = 0; i < MAX_OF(bench->runs, (size_t)20); i++) {
        uint64_t usec;
        int r = overlay_by_ramet(dir, base, i, &usec, error);
        if (r < 0)
            return r;
        samples_add(&ours, (double)usec);
        r = overlay_by_qemu_img(folder, base, i, &usec, error);
        if (r < 0)
            return r;
        samples_add(&theirs, (double)usec);
    }
    report_add(bench->report, &ours);
    report_add_ratio(bench->report, &theirs, &ours, 0, 10);
    return 0;
}

/* An ext4 file system of 1.6 GiB that holds the libraries of this host, compressed: as a
 * distribution's image would come. */
static int archive_make(const char *folder, char **archive, Error *error) {
    _cleanup_free_ char *disk = path_join(folder, "disk.img");
    _cleanup_free_ char *packed = path_join(folder, "disk.img.zst");
    const char *mke2fs[] = {"mke2fs", "-q", "-t", "ext4", "-d", "/usr/lib/x86_64-linux-gnu",
                            disk,     NULL};
    const char *zstd[] = {"zstd", "-q", "-3", "--rm", disk, "-o", packed, NULL};
    _cleanup_close_ int fd = open(disk, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)SAMPLE_DISK_BYTES) < 0)
        return error_set_errno(error, errno, "cannot make %s", disk);
    bench_say("making an archive of 1.6 GiB");
    int r = bench_run_tool((char *const *)mke2fs, error);
    if (r >= 0)
        r = bench_run_tool((char *const *)zstd, error);
    if (r < 0)
        return r;
    *archive = TAKE_PTR(packed);
    return 0;
}

static int unpack_by_zstd(const char *folder, const char *archive, uint64_t *usec, Error *error) {
    _cleanup_free_ char *target = path_join(folder, "unpacked.img");
    const char *argv[] = {"zstd", "-q", "-d", "--sparse", "-f", archive, "-o", target, NULL};
    uint64_t start = clock_monotonic_usec();
    int r = bench_run_tool((char *const *)argv, error);
    *usec = clock_monotonic_usec() - start;
    (void)unlink(target);
    return r;
}

static int import_archive(const Bench *bench, const char *archive, const char *image,
                          Error *error) {
    _cleanup_json_ json_t *body = json_pack("{s:s,s:s}", "name", image, "path", archive);
    return bench_call(bench, "POST", "/v1/images/import", body, NULL, error);
}

static int remove_vms(const Bench *bench, json_t *vms, Error *error) {
    size_t i;
    json_t *vm;
    json_array_foreach(vms, i, vm) {
        int r = bench_vm_remove(bench, vm, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static uint64_t disk_bytes(const json_t *vms) {
    uint64_t sum = 0;
    size_t i;
    json_t *vm;
    json_array_foreach(vms, i, vm) sum += (uint64_t)json_integer_value(
        json_object_get(json_object_get(vm, "disk"), "allocated_bytes"));
    return sum;
}

typedef struct ArchiveSamples {
    Samples zstd, first, again, overlays_share;
} ArchiveSamples;

static int eight_disks(const Bench *bench, const char *archive, const char *image, Samples *samples,
                       Samples *share, Error *error) {
    _cleanup_json_ json_t *vms = json_array();
    uint64_t start = clock_monotonic_usec();
    int r = import_archive(bench, archive, image, error);
    if (r >= 0)
        r = bench_vms_create(bench, image, BENCH_VMS, vms, error);
    if (r < 0)
        return r;
    samples_add(samples, (double)(clock_monotonic_usec() - start));
    samples_add(share, 100.0 * (double)disk_bytes(vms) / (double)SAMPLE_DISK_BYTES);
    return remove_vms(bench, vms, error);
}

static int archive_round(const Bench *bench, const char *folder, const char *archive,
                         ArchiveSamples *samples, Error *error) {
    const char *image = "bench-archive";
    _cleanup_free_ char *path = str_format("/v1/images/%s", image);
    uint64_t usec;
    int r = bench_give_back_room(folder, error);
    if (r >= 0)
        r = unpack_by_zstd(folder, archive, &usec, error);
    if (r < 0)
        return r;
    samples_add(&samples->zstd, (double)usec);
    r = bench_give_back_room(folder, error);
    if (r < 0)
        return r;
    r = eight_disks(bench, archive, image, &samples->first, &samples->overlays_share, error);
    if (r >= 0)
        r = eight_disks(bench, archive, image, &samples->again, &samples->overlays_share, error);
    if (r >= 0)
        r = bench_call(bench, "DELETE", path, NULL, NULL, error);
    return r;
}

static int bench_archive(Bench *bench, const char *folder, Error *error) {
    static ArchiveSamples samples = {
        .zstd = {.name = "one zstd -d --sparse", .unit = "us"},
        .first = {.name = "disks of eight VMs from the .img.zst", .unit = "us"},
        .again = {.name = "the same again", .unit = "us"},
        .overlays_share = {.name = "eight overlays, share of the base", .unit = "%"},
    };
    _cleanup_free_ char *archive = str_copy(bench->archive);
    int r = archive ? 0 : archive_make(folder, &archive, error);
    for (size_t i = 0; r >= 0 && i < bench->runs; i++) {
        bench_say("archive %zu of %zu", i + 1, bench->runs);
        r = archive_round(bench, folder, archive, &samples, error);
    }
    if (r < 0)
        return r;
    report_add(bench->report, &samples.zstd);
    report_add_ratio(bench->report, &samples.first, &samples.zstd, 1.3, 0);
    report_add_bound(bench->report, &samples.again, 20000);
    report_add_bound(bench->report, &samples.overlays_share, 1);
    return 0;
}

int bench_disk(Bench *bench, Error *error) {
    _cleanup_(bench_scratch_remove) char *folder = NULL;
    _cleanup_json_ json_t *image = NULL;
    _cleanup_free_ char *path = str_format("/v1/images/%s", bench->image);
    const char *base;
    int r = bench_call(bench, "GET", path, NULL, &image, error);
    if (r >= 0)
        r = json_get_string("the image", image, "path", &base, error);
    if (r >= 0)
        r = bench_scratch_new(bench, &folder, error);
    if (r >= 0)
        r = bench_overlays(bench, folder, base, error);
    if (r >= 0)
        r = bench_archive(bench, folder, error);
    return r;
}
