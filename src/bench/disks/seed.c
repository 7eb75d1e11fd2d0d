/* SPDX-License-Identifier: Apache-2.0 */

/* What seeds cost: a VM that has one beside a VM that has none, also one of 64 GiB; building one
 * beside `mke2fs -d` alone; and a disk of 8 GiB of one's own over it beside a copy, and beside a
 * reflink that is checked and grown, on an ext4 and an XFS of a loop device each. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "bench/bench.h"
#include "bench/scratch.h"
#include "disk/overlay.h"

#define HOME_FILES 2000
#define HOME_FOLDERS 50
#define FILE_BYTES 100000
#define OWN_BYTES (8 * GIB)
#define TOOL(...) bench_run_tool((char *const *)(const char *[]){__VA_ARGS__, NULL}, error)

/* ---- a home of 200 MB ---- */

static int write_file(int dir, const char *name, Error *error) {
    static uint8_t content[FILE_BYTES];
    _cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    random_bytes(content, sizeof(content));
    int r = fd < 0 ? -errno : fd_write_full(fd, content, sizeof(content));
    return r < 0 ? error_set_errno(error, -r, "cannot write %s", name) : 0;
}

static int make_home(const char *folder, Error *error) {
    int r = mkdir(folder, 0755) < 0 ? error_set_errno(error, errno, "cannot make %s", folder) : 0;
    for (size_t i = 0; r >= 0 && i < HOME_FILES; i++) {
        _cleanup_free_ char *below = str_format("%s/%zu", folder, i % HOME_FOLDERS);
        _cleanup_free_ char *name = str_format("%zu", i);
        (void)mkdir(below, 0755);
        _cleanup_close_ int dir = open(below, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = dir < 0 ? error_set_errno(error, errno, "cannot make %s", below)
                    : write_file(dir, name, error);
    }
    return r;
}

/* ---- building ---- */

static int create_seed(const Bench *bench, const char *name, const char *folder, Error *error) {
    _cleanup_json_ json_t *body = json_pack("{s:s, s:s}", "name", name, "from", folder);
    return bench_call(bench, "POST", "/v1/seeds", body, NULL, error);
}

static int remove_seed(const Bench *bench, const char *name, Error *error) {
    _cleanup_free_ char *path = str_format("/v1/seeds/%s", name);
    return bench_undo(bench, "DELETE", path, NULL, error);
}

static int build_once(const Bench *bench, const char *scratch, const char *folder, const char *name,
                      Samples *plain, Samples *seed, Error *error) {
    _cleanup_free_ char *disk = path_join(scratch, "plain.img");
    uint64_t start = clock_monotonic_usec();
    int r = TOOL("mke2fs", "-q", "-F", "-t", "ext4", "-E",
                 "nodiscard,lazy_itable_init=1,lazy_journal_init=1", "-d", folder, disk, "400M");
    if (r >= 0)
        r = bench_sync_path(disk, error);
    samples_add(plain, (double)(clock_monotonic_usec() - start));
    (void)unlink(disk);
    start = clock_monotonic_usec();
    if (r >= 0)
        r = create_seed(bench, name, folder, error);
    samples_add(seed, (double)(clock_monotonic_usec() - start));
    return r;
}

static int bench_building(Bench *bench, const char *scratch, const char *folder, const char *name,
                          Error *error) {
    static Samples plain = {.name = "mke2fs -d of 200 MB, and fsync", .unit = "us"};
    static Samples seed = {.name = "seed create of them", .unit = "us"};
    int r = 0;
    for (size_t i = 0; r >= 0 && i < bench->runs; i++) {
        bench_say("building %zu of %zu", i + 1, bench->runs);
        if (i > 0)
            r = remove_seed(bench, name, error);
        if (r >= 0)
            r = build_once(bench, scratch, folder, name, &plain, &seed, error);
    }
    if (r < 0)
        return r;
    report_add(bench->report, &plain);
    report_add_ratio(bench->report, &seed, &plain, 1.2, 0);
    return 0;
}

/* ---- starts ---- */

static int start_once(const Bench *bench, const char *place, uint64_t *usec, Error *error) {
    json_t *options = place ? json_pack("{s:[s]}", "seeds", place) : json_object();
    _cleanup_json_ json_t *vm = NULL;
    int r = bench_vm_start(bench, options, &vm, usec, error);
    return r < 0 ? r : bench_vm_remove(bench, vm, error);
}

static int bench_starts(Bench *bench, const char *name, Error *error) {
    static Samples all[] = {{.name = "a VM without a seed", .unit = "us"},
                            {.name = "with one, grown to 1 GiB", .unit = "us"},
                            {.name = "grown to 64 GiB", .unit = "us"}};
    static Samples more = {.name = "what the seed adds", .unit = "us"};
    _cleanup_free_ char *small = str_format("%s:/root:1G", name);
    _cleanup_free_ char *large = str_format("%s:/root:64G", name);
    const char *const places[] = {NULL, small, large};
    uint64_t usec[3];
    int r = 0;
    for (size_t i = 0; r >= 0 && i <= bench->runs * 4; i++) {
        for (size_t k = 0; r >= 0 && k < ARRAY_SIZE(all); k++)
            r = start_once(bench, places[k], &usec[k], error);
        if (r < 0 || i == 0) /* the first makes what the boot cache has */
            continue;
        for (size_t k = 0; k < ARRAY_SIZE(all); k++)
            samples_add(&all[k], (double)usec[k]);
        samples_add(&more, (double)usec[1] - (double)usec[0]);
    }
    if (r < 0)
        return r;
    report_add(bench->report, &all[0]);
    report_add(bench->report, &all[1]);
    report_add_bound(bench->report, &more, 5000);
    report_add_ratio(bench->report, &all[2], &all[1], 1.05, 0);
    return 0;
}

/* ---- side by side ---- */

typedef struct Ways {
    Samples overlay, copy, reflink;
} Ways;

static int reflink_once(const char *base, const char *target, Samples *samples, Error *error) {
    uint64_t start = clock_monotonic_usec();
    int r = TOOL("cp", "--reflink=always", base, target);
    if (r >= 0 && truncate(target, (off_t)OWN_BYTES) < 0)
        r = error_set_errno(error, errno, "cannot grow %s", target);
    if (r >= 0)
        r = TOOL("e2fsck", "-fy", target);
    if (r >= 0)
        r = TOOL("resize2fs", target);
    if (r >= 0)
        r = bench_sync_path(target, error);
    samples_add(samples, (double)(clock_monotonic_usec() - start));
    (void)unlink(target);
    return r;
}

static int copy_once(const char *base, const char *target, Samples *samples, Error *error) {
    uint64_t start = clock_monotonic_usec();
    int r = TOOL("cp", "--reflink=never", "--sparse=always", base, target);
    if (r >= 0)
        r = bench_sync_path(target, error);
    samples_add(samples, (double)(clock_monotonic_usec() - start));
    (void)unlink(target);
    return r;
}

static int overlay_once(int dir, const char *base, Samples *samples, Error *error) {
    const OverlaySpec spec = {
        .virtual_bytes = OWN_BYTES, .backing_path = base, .backing_format = "raw"};
    uint64_t start = clock_monotonic_usec();
    int r = overlay_create_at(dir, "own.qcow2", &spec, error);
    samples_add(samples, (double)(clock_monotonic_usec() - start));
    (void)unlinkat(dir, "own.qcow2", 0);
    return r;
}

static int measure_ways(const Bench *bench, const char *mounted, bool reflinks, Ways *ways,
                        Error *error) {
    _cleanup_free_ char *base = path_join(mounted, "seed.raw"), *own = path_join(mounted, "own");
    _cleanup_close_ int dir = open(mounted, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = dir < 0 ? error_set_errno(error, errno, "cannot open %s", mounted) : 0;
    for (size_t i = 0; r >= 0 && i < bench->runs; i++) {
        r = overlay_once(dir, base, &ways->overlay, error);
        if (r >= 0)
            r = copy_once(base, own, &ways->copy, error);
        if (r >= 0 && reflinks)
            r = reflink_once(base, own, &ways->reflink, error);
    }
    return r;
}

static int mount_new(const char *disk, const char *mounted, const char *mkfs, Error *error) {
    _cleanup_close_ int fd = open(disk, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)(4 * GIB)) < 0)
        return error_set_errno(error, errno, "cannot make %s", disk);
    (void)mkdir(mounted, 0700);
    int r = TOOL(mkfs, "-q", disk);
    return r < 0 ? r : TOOL("mount", "-o", "loop", disk, mounted);
}

static int bench_ways(Bench *bench, const char *scratch, const char *base, const char *mkfs,
                      bool reflinks, Ways *ways, Error *error) {
    _cleanup_free_ char *disk = path_join(scratch, mkfs), *mounted = path_join(scratch, "mounted");
    _cleanup_free_ char *copy = path_join(mounted, "seed.raw");
    _cleanup_error_ Error why = ERROR_INIT;
    if (mount_new(disk, mounted, mkfs, &why) < 0) {
        report_note(bench->report, "no file system of %s: %s", mkfs, error_message(&why));
        (void)unlink(disk);
        return 0;
    }
    int r = TOOL("cp", "--sparse=always", base, copy);
    if (r >= 0)
        r = measure_ways(bench, mounted, reflinks, ways, error);
    int ended = bench_run_tool((char *const *)(const char *[]){"umount", mounted, NULL}, &why);
    if (ended < 0 && r >= 0)
        r = error_move(error, &why);
    (void)unlink(disk);
    if (r < 0)
        return r;
    report_add(bench->report, &ways->overlay);
    report_add_ratio(bench->report, &ways->copy, &ways->overlay, 0, 20);
    if (reflinks)
        report_add_ratio(bench->report, &ways->reflink, &ways->overlay, 0, 1);
    return 0;
}

static int bench_side_by_side(Bench *bench, const char *scratch, const char *name, Error *error) {
    static Ways ext4 = {{.name = "ext4: an overlay of 8 GiB", .unit = "us"},
                        {.name = "ext4: a copy", .unit = "us"},
                        {.name = "", .unit = "us"}};
    static Ways xfs = {{.name = "XFS: an overlay of 8 GiB", .unit = "us"},
                       {.name = "XFS: a copy", .unit = "us"},
                       {.name = "XFS: reflink, e2fsck and resize2fs", .unit = "us"}};
    _cleanup_free_ char *path = str_format("/v1/seeds/%s", name);
    _cleanup_json_ json_t *seed = NULL;
    const char *base = NULL;
    int r = bench_call(bench, "GET", path, NULL, &seed, error);
    if (r >= 0)
        r = json_get_string("the seed", seed, "path", &base, error);
    if (r >= 0)
        r = bench_ways(bench, scratch, base, "mkfs.ext4", false, &ext4, error);
    return r < 0 ? r : bench_ways(bench, scratch, base, "mkfs.xfs", true, &xfs, error);
}

int bench_seed(Bench *bench, Error *error) {
    _cleanup_(bench_scratch_remove) char *scratch = NULL;
    _cleanup_free_ char *name = str_format("bench-%d", (int)getpid()), *folder = NULL;
    int r = bench_scratch_new(bench, &scratch, error);
    if (r < 0)
        return r;
    folder = path_join(scratch, "home");
    r = make_home(folder, error);
    if (r >= 0)
        r = bench_building(bench, scratch, folder, name, error);
    if (r >= 0)
        r = bench_starts(bench, name, error);
    if (r >= 0)
        r = bench_side_by_side(bench, scratch, name, error);
    (void)remove_seed(bench, name, NULL);
    return r;
}
