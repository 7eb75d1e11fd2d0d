/* SPDX-License-Identifier: Apache-2.0 */

/* Archives beside zstd -T0 of the same bytes: an image's disk (an ext4 with this host's libraries)
 * and its kernel go out; the disk comes back. A second snapshot, of a clone that wrote little, goes
 * out with and without what the first one has. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "bench/bench.h"
#include "bench/scratch.h"

#define DISK_BYTES (1638 * MIB)
#define IMAGE "bench-archive"
#define FIRST "bench-archive-1"
#define SECOND "bench-archive-2"

typedef struct Paths {
    char *folder;                         /* owned */
    char *plain, *packed, *archive, *out; /* owned */
} Paths;

static void paths_free(Paths *paths) {
    free(paths->plain);
    free(paths->packed);
    free(paths->archive);
    free(paths->out);
    bench_scratch_remove(&paths->folder);
}

static uint64_t size_of(const char *path) {
    struct stat info;
    return stat(path, &info) < 0 ? 0 : (uint64_t)info.st_size;
}

/* ---- an image ---- */

static int import_disk(const Bench *bench, const char *disk, Error *error) {
    const char *arguments[] = {"image",  "import", disk,        "--format", "raw",
                               "--name", IMAGE,    "--replace", NULL};
    return bench_cli(bench, arguments, NULL, error);
}

/* The image, and a file of the bytes that its archive has to hold: disk without holes, and kernel.
 */
static int prepare(const Bench *bench, Paths *paths, Error *error) {
    _cleanup_free_ char *disk = path_join(paths->folder, "disk.img");
    _cleanup_json_ json_t *image = NULL;
    const char *mke2fs[] = {"mke2fs", "-q", "-t", "ext4", "-d", "/usr/lib/x86_64-linux-gnu",
                            disk,     NULL};
    _cleanup_close_ int fd = open(disk, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int r;
    if (fd < 0 || ftruncate(fd, (off_t)DISK_BYTES) < 0)
        return error_set_errno(error, errno, "cannot make %s", disk);
    bench_say("making a disk of 1.6 GiB");
    r = bench_run_tool((char *const *)mke2fs, error);
    if (r >= 0)
        r = import_disk(bench, disk, error);
    if (r >= 0)
        r = bench_call(bench, "GET", "/v1/images/" IMAGE, NULL, &image, error);
    if (r >= 0) {
        _cleanup_free_ char *kernel =
            path_join(bench->home, "kernels",
                      str_or_empty(json_string_value(json_object_get(image, "kernel_key"))));
        const char *tar[] = {"tar", "-cSf", paths->plain, "-P", disk, kernel, NULL};
        r = bench_run_tool((char *const *)tar, error);
    }
    (void)unlink(disk);
    return r;
}

static int timed_tool(const char *const *argv, Samples *samples, Error *error) {
    uint64_t start = clock_monotonic_usec();
    int r = bench_run_tool((char *const *)argv, error);
    if (r >= 0)
        samples_add(samples, (double)(clock_monotonic_usec() - start));
    return r;
}

static int timed_cli(const Bench *bench, const char *const *arguments, Samples *samples,
                     Error *error) {
    uint64_t usec = 0;
    int r = bench_cli(bench, arguments, &usec, error);
    if (r >= 0)
        samples_add(samples, (double)usec);
    return r;
}

static int export_once(const Bench *bench, const Paths *paths, Samples *ours, Samples *theirs,
                       Error *error) {
    const char *zstd[] = {"zstd", "-q", "-T0", "-f", paths->plain, "-o", paths->packed, NULL};
    const char *export[] = {"image", "export", IMAGE, paths->archive, NULL};
    int r = timed_tool(zstd, theirs, error);
    if (r >= 0)
        r = bench_give_back_room(paths->folder, error);
    return r < 0 ? r : timed_cli(bench, export, ours, error);
}

/* The disk is not there, so it is written; the kernel is, so it is only read past. */
static int import_once(const Bench *bench, const Paths *paths, Samples *ours, Samples *theirs,
                       Error *error) {
    const char *zstd[] = {"zstd", "-q", "-d", "-T0", "-f", paths->packed, "-o", paths->out, NULL};
    const char *import[] = {"image", "import", paths->archive, NULL};
    int r = timed_tool(zstd, theirs, error);
    (void)unlink(paths->out);
    if (r >= 0)
        r = bench_undo(bench, "DELETE", "/v1/images/" IMAGE, NULL, error);
    if (r >= 0)
        r = bench_give_back_room(paths->folder, error);
    return r < 0 ? r : timed_cli(bench, import, ours, error);
}

static int bench_image(Bench *bench, const Paths *paths, Error *error) {
    static Samples out = {.name = "image export", .unit = "us"};
    static Samples out_zstd = {.name = "zstd -T0 of the same bytes", .unit = "us"};
    static Samples in = {.name = "image import, flushed", .unit = "us"};
    static Samples in_zstd = {.name = "zstd -d -T0 of them, not flushed", .unit = "us"};
    int r = 0;
    for (size_t i = 0; r >= 0 && i < bench->runs; i++) {
        r = export_once(bench, paths, &out, &out_zstd, error);
        if (r >= 0)
            r = import_once(bench, paths, &in, &in_zstd, error);
    }
    if (r < 0)
        return r;
    report_add(bench->report, &out);
    report_add_ratio(bench->report, &out_zstd, &out, 0, 0.8);
    report_add(bench->report, &in);
    report_add_ratio(bench->report, &in_zstd, &in, 0, 0.8);
    report_note(bench->report, "the archive takes %.1f MiB, what zstd made %.1f",
                (double)size_of(paths->archive) / (double)MIB,
                (double)size_of(paths->packed) / (double)MIB);
    return 0;
}

/* ---- snapshots ---- */

static int take_snapshot(const Bench *bench, const json_t *vm, const char *name, json_t **snapshot,
                         Error *error) {
    _cleanup_free_ char *path = str_format(
        "/v1/vms/%s/snapshot", str_or_empty(json_string_value(json_object_get(vm, "id"))));
    _cleanup_json_ json_t *request = json_pack("{s:s}", "name", name);
    return bench_call(bench, "POST", path, request, snapshot, error);
}

/* The memory of the second stands on the first's: its own pages are what the clone wrote. */
static int take_snapshots(const Bench *bench, const json_t *vm, json_t **clone, json_t **second,
                          Error *error) {
    const char *fork[] = {"fork", "--name", IMAGE, FIRST, NULL};
    const char *write[] = {"exec", IMAGE, "--", "sh", "-c", "head -c 8m /dev/urandom >/dev/shm/x",
                           NULL};
    int r = take_snapshot(bench, vm, FIRST, NULL, error);
    if (r >= 0)
        r = bench_cli(bench, fork, NULL, error);
    if (r >= 0)
        r = bench_call(bench, "GET", "/v1/vms/" IMAGE, NULL, clone, error);
    if (r >= 0)
        r = bench_cli(bench, write, NULL, error);
    return r < 0 ? r : take_snapshot(bench, *clone, SECOND, second, error);
}

static int export_both(Bench *bench, const Paths *paths, const json_t *second, Error *error) {
    static Samples whole = {.name = "snapshot export", .unit = "bytes"};
    static Samples since = {.name = "snapshot export --since", .unit = "bytes"};
    static Samples own = {.name = "the pages that it wrote", .unit = "bytes"};
    const char *all[] = {"snapshot", "export", SECOND, paths->archive, NULL};
    const char *part[] = {"snapshot", "export", SECOND, paths->archive, "--since", FIRST, NULL};
    const json_t *memory = json_object_get(second, "memory");
    int r = bench_cli(bench, all, NULL, error);
    samples_add(&whole, (double)size_of(paths->archive));
    if (r >= 0)
        r = bench_cli(bench, part, NULL, error);
    if (r < 0)
        return r;
    samples_add(&since, (double)size_of(paths->archive));
    samples_add(&own, (double)json_integer_value(json_object_get(memory, "allocated_bytes")));
    report_add(bench->report, &whole);
    report_add(bench->report, &own);
    report_add_ratio(bench->report, &since, &own, 1.05, 0);
    return 0;
}

static int bench_snapshots(Bench *bench, const Paths *paths, Error *error) {
    _cleanup_json_ json_t *vm = NULL, *clone = NULL, *second = NULL;
    int r = bench_vm_start(bench, json_object(), &vm, NULL, error);
    if (r < 0)
        return r;
    r = take_snapshots(bench, vm, &clone, &second, error);
    if (r >= 0)
        r = export_both(bench, paths, second, error);
    if (clone)
        (void)bench_vm_remove(bench, clone, NULL);
    (void)bench_vm_remove(bench, vm, NULL);
    (void)bench_undo(bench, "DELETE", "/v1/snapshots/" SECOND, NULL, NULL);
    (void)bench_undo(bench, "DELETE", "/v1/snapshots/" FIRST, NULL, NULL);
    return r;
}

int bench_archives(Bench *bench, Error *error) {
    _cleanup_(paths_free) Paths paths = {0};
    int r = bench_scratch_new(bench, &paths.folder, error);
    if (r < 0)
        return r;
    paths.plain = path_join(paths.folder, "plain.tar");
    paths.packed = path_join(paths.folder, "plain.tar.zst");
    paths.archive = path_join(paths.folder, "archive.ramet");
    paths.out = path_join(paths.folder, "out.tar");
    r = prepare(bench, &paths, error);
    if (r >= 0)
        r = bench_image(bench, &paths, error);
    (void)bench_undo(bench, "DELETE", "/v1/images/" IMAGE, NULL, NULL);
    return r < 0 ? r : bench_snapshots(bench, &paths, error);
}
