/* SPDX-License-Identifier: Apache-2.0 */

/* Images of containers: laying layers over each other beside tar(1), which unpacks the same files
 * of the same layers into a folder; and `ramet image pull` and `ramet run` beside `podman pull` and
 * `podman run` of the same image from the same registry, up to the first output (podman.c).
 *
 * And recipes (recipe.c).
 *
 * The image is made here, of the host's /usr/bin, /usr/lib/python3 and a static busybox. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "base/str.h"
#include "bench/image/image_parts.h"
#include "disk/layers/layers.h"

#define TOOL_BOUND_USEC (1800 * USEC_PER_SEC)
#define LAYERS 3

/* A layer is what a shell's line writes to its output as a tar. */
static const char *const LINES[LAYERS] = {
    "tar -C / --format=posix -c usr/lib/python3 usr/lib/x86_64-linux-gnu/perl-base 2>/dev/null",
    "tar -C / --format=posix -c usr/bin 2>/dev/null",
    ("mkdir -p top/bin && cp /bin/busybox top/bin && "
     "for i in sh echo true; do ln -sf busybox top/bin/$i; done && "
     "tar -C top --format=posix -c ."),
};

static int run_line(const char *folder, const char *line, Error *error) {
    _cleanup_free_ char *whole = str_format("cd %s && { %s; }", folder, line);
    char *const argv[] = {(char *)"sh", (char *)"-c", whole, NULL};
    const SpawnOptions options = {.program = "sh", .argv = argv};
    return spawn_run(&options, TOOL_BOUND_USEC, -1, NULL, error);
}

static int scratch_new(const Bench *bench, char **folder, Error *error) {
    _cleanup_free_ char *path = str_format("%s/tmp/bench-image-%d", bench->home, (int)getpid());
    int r = path_make_folders(path, 0700);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make %s", path);
    *folder = TAKE_PTR(path);
    return 0;
}

static void scratch_remove(char **folder) {
    if (*folder)
        (void)path_remove_tree(*folder);
    free(*folder);
}

static int make_layers(const char *folder, Error *error) {
    int r = 0;
    for (int i = 0; i < LAYERS && r >= 0; i++) {
        _cleanup_free_ char *line =
            str_format("{ %s; } >layer%d; gzip -1 <layer%d >layer%d.gz", LINES[i], i, i, i);
        bench_say("making layer %d of %d", i + 1, LAYERS);
        r = run_line(folder, line, error);
    }
    return r;
}

static int apply_by_tar(const char *folder, uint64_t *usec, Error *error) {
    uint64_t start = clock_monotonic_usec();
    int r = run_line(folder,
                     "mkdir root && for i in 0 1 2; do tar -xzf layer$i.gz -C root || exit 1; done",
                     error);
    *usec = clock_monotonic_usec() - start;
    if (r >= 0)
        r = run_line(folder, "rm -rf root", error);
    return r;
}

static int open_layer(const char *folder, int i, Layer *layer, Error *error) {
    _cleanup_free_ char *path = str_format("%s/layer%d.gz", folder, i);
    layer->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (layer->fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    return sha256_file(layer->fd, layer->stored, error);
}

static int apply_by_ramet(const char *folder, const Layer *layers, uint64_t *usec, Error *error) {
    _cleanup_free_ char *output = str_format("%s/disk", folder);
    _cleanup_close_ int fd = open(output, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    LayersOptions options = {.layers = layers,
                             .n_layers = LAYERS,
                             .output_path = output,
                             .scratch_folder = folder,
                             .uuid = "52414d45-5400-4000-8000-000000000002",
                             .cancel_fd = -1};
    LayersResult result;
    uint64_t start = clock_monotonic_usec();
    int r = fd < 0 ? error_set_errno(error, errno, "cannot make %s", output)
                   : layers_to_ext4(&options, &result, error);
    *usec = clock_monotonic_usec() - start;
    (void)unlink(output);
    return r;
}

static int bench_apply(Bench *bench, const char *folder, Error *error) {
    static Samples ours = {.name = "layers to ext4, digests checked", .unit = "us"};
    static Samples theirs = {.name = "tar -x of the same layers", .label = "tar -x", .unit = "us"};
    Layer layers[LAYERS] = {{.fd = -1}, {.fd = -1}, {.fd = -1}};
    int r = 0;
    for (int i = 0; i < LAYERS && r >= 0; i++)
        r = open_layer(folder, i, &layers[i], error);
    for (size_t i = 0; i < bench->runs && r >= 0; i++) {
        uint64_t usec;
        bench_say("apply, round %zu", i + 1);
        r = apply_by_tar(folder, &usec, error);
        if (r >= 0)
            samples_add(&theirs, (double)usec);
        if (r >= 0)
            r = apply_by_ramet(folder, layers, &usec, error);
        if (r >= 0)
            samples_add(&ours, (double)usec);
    }
    for (int i = 0; i < LAYERS; i++)
        (void)fd_close(layers[i].fd);
    if (r < 0)
        return r;
    (void)report_add(bench->report, &theirs);
    report_add_ratio(bench->report, &ours, &theirs, 1 / 0.8, 0);
    return 0;
}

/* ---- beside podman ---- */

static int digest_layer(const char *folder, int i, char hex[SHA256_HEX_SIZE], Error *error) {
    _cleanup_free_ char *path = str_format("%s/layer%d", folder, i);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? error_set_errno(error, errno, "cannot open %s", path)
                  : sha256_file(fd, hex, error);
}

/* The large image has all layers, the small one the last. */
static int bench_beside(Bench *bench, const char *folder, Error *error) {
    RegistryImage large = {.name = "bench-large"}, small = {.name = "bench-small", .n_layers = 1};
    _cleanup_(strlist_free) StrList paths = {0};
    int r = 0;
    for (int i = 0; i < LAYERS && r >= 0; i++) {
        strlist_add_format(&paths, "%s/layer%d.gz", folder, i);
        large.layers[i] = paths.items[i];
        large.n_layers++;
        r = digest_layer(folder, i, large.decoded[i], error);
    }
    if (r < 0)
        return r;
    small.layers[0] = large.layers[LAYERS - 1];
    memcpy(small.decoded[0], large.decoded[LAYERS - 1], sizeof(small.decoded[0]));
    return bench_image_podman(bench, folder, &small, &large, error);
}

static int bench_layers(Bench *bench, Error *error) {
    bool apply = bench_wants(bench, "layers"), beside = bench_wants(bench, "podman");
    _cleanup_(scratch_remove) char *folder = NULL;
    int r = apply || beside ? scratch_new(bench, &folder, error) : 0;
    if (r >= 0 && folder)
        r = make_layers(folder, error);
    if (r >= 0 && apply)
        r = bench_apply(bench, folder, error);
    if (r >= 0 && beside)
        r = bench_beside(bench, folder, error);
    return r;
}

int bench_images(Bench *bench, Error *error) {
    int r = bench_layers(bench, error);
    return r < 0 || !bench_wants(bench, "recipe") ? r : bench_recipe(bench, error);
}
