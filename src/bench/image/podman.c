/* SPDX-License-Identifier: Apache-2.0 */

/* `ramet image pull` and `ramet run` beside `podman pull` and `podman run` of the same image from
 * the same registry: from the first command's start to the first output of the image's program,
 * which is `echo`. The second time is that of an image that is there already; with a pool, a clone
 * of it waits for Ramet's.
 *
 * podman gets storage of its own. For each round the layers are packed anew, with other digests and
 * the same content, so that no cache has them; what they leave is removed. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "base/str.h"
#include "bench/image/image_parts.h"
#include "bench/image/registry.h"
#include "bench/scratch.h"

#define AGAIN 2 /* second times in each round */
#define ASKED_FIRST 1.0
#define ASKED_SECOND 0.3
#define GZIP_TIME_OFFSET 4 /* RFC 1952, MTIME: it changes the packed bytes only */

typedef struct Times {
    Samples podman_first, first, podman_second, second, pooled;
} Times;

typedef struct Beside {
    Bench *bench; /* borrowed */
    Registry registry;
    char *root, *run_root;  /* owned: podman's storage */
    const char *name;       /* of the image, in the registry and here */
    char *docker_reference; /* owned */
    char *podman_reference; /* owned */
    char *ramet;            /* owned: the program */
} Beside;

static void beside_free(Beside *beside) {
    registry_stop(&beside->registry);
    free(beside->root);
    free(beside->run_root);
    free(beside->docker_reference);
    free(beside->podman_reference);
    free(beside->ramet);
}

/* ---- a command, until its first output ---- */

/* Until the user wants an end, or there is something to read. */
static int read_some(const Bench *bench, int fd, char *buffer, size_t size) {
    struct pollfd items[] = {{.fd = fd, .events = POLLIN},
                             {.fd = bench->cancel_fd, .events = POLLIN}};
    ssize_t n;
    if (poll(items, ARRAY_SIZE(items), -1) < 0)
        return -errno;
    if (items[1].revents)
        return -ECANCELED;
    n = read(fd, buffer, size);
    return n < 0 ? -errno : (int)n;
}

/* *usec: until the first byte. Then it is read to its end. */
static int read_output(const Bench *bench, int fd, uint64_t *usec) {
    uint64_t start = clock_monotonic_usec();
    char buffer[4096];
    int n = read_some(bench, fd, buffer, sizeof(buffer));
    *usec = clock_monotonic_usec() - start;
    if (n == 0)
        return -ENODATA;
    while (n > 0)
        n = read_some(bench, fd, buffer, sizeof(buffer));
    return n;
}

static int tell_failure(const char *const *words, int errors, int r, Error *error) {
    char said[400] = "";
    ssize_t n = fd_pread_full(errors, said, sizeof(said) - 1, 0);
    _cleanup_free_ char *clean = str_sanitize(said, n > 0 ? strcspn(said, "\n") : 0);
    if (r == -ECANCELED)
        return error_set(error, ERROR_CANCELLED, ECANCELED, "interrupted");
    return error_set(error, ERROR_FAILED, EIO, "%s run failed: %s", words[0],
                     *clean ? clean : "it printed nothing");
}

static int time_output(const Beside *beside, const char *const *words, uint64_t *usec,
                       Error *error) {
    _cleanup_close_ int reader = -1, writer = -1, errors = -1;
    _cleanup_free_ char *said = path_join(beside->registry.folder, "said");
    int ends[2], status = 0, r;
    pid_t pid;
    errors = open(said, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (errors < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "cannot run %s", words[0]);
    reader = ends[0];
    writer = ends[1];
    const SpawnFd fds[] = {{writer, 1}, {errors, 2}};
    const SpawnOptions options = {
        .program = words[0], .argv = (char *const *)words, .fds = fds, .n_fds = ARRAY_SIZE(fds)};
    r = spawn_process(&options, &pid, error);
    if (r < 0)
        return r;
    writer = fd_close(writer);
    r = read_output(beside->bench, reader, usec);
    if (r == -ECANCELED)
        (void)kill(pid, SIGTERM);
    spawn_reap(pid, &status);
    return r < 0 || status != 0 ? tell_failure(words, errors, r, error) : 0;
}

/* ---- pull and run ---- */

static int pull_and_run(const Beside *beside, const char *const *pull, const char *const *run,
                        Samples *samples, Error *error) {
    uint64_t start = clock_monotonic_usec(), pulled, usec;
    int r = bench_run_tool((char *const *)pull, error);
    pulled = clock_monotonic_usec() - start;
    if (r >= 0)
        r = time_output(beside, run, &usec, error);
    if (r >= 0)
        samples_add(samples, (double)(pulled + usec));
    return r;
}

static int by_ramet(const Beside *beside, Samples *samples, Error *error) {
    const char *const pull[] = {beside->ramet, "image",      "pull",      "--insecure",
                                "--name",      beside->name, "--replace", beside->docker_reference,
                                NULL};
    const char *const run[] = {beside->ramet, "run", "--rm", beside->name, NULL};
    return pull_and_run(beside, pull, run, samples, error);
}

static int by_podman(const Beside *beside, Samples *samples, Error *error) {
    const char *const pull[] = {"podman",
                                "--root",
                                beside->root,
                                "--runroot",
                                beside->run_root,
                                "pull",
                                "-q",
                                "--tls-verify=false",
                                beside->podman_reference,
                                NULL};
    const char *const run[] = {"podman",
                               "--root",
                               beside->root,
                               "--runroot",
                               beside->run_root,
                               "run",
                               "--rm",
                               beside->podman_reference,
                               NULL};
    return pull_and_run(beside, pull, run, samples, error);
}

static int set_pool(const Beside *beside, int count, Error *error) {
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:i, s:b}", "source", beside->name, "count", count, "wait", 1);
    return (count > 0 ? bench_call(beside->bench, "POST", "/v1/pools", body, NULL, error)
                      : bench_undo(beside->bench, "POST", "/v1/pools", body, error));
}

static int with_pool(const Beside *beside, Samples *samples, Error *error) {
    int r = set_pool(beside, 1, error);
    if (r >= 0)
        r = by_ramet(beside, samples, error);
    int ended = set_pool(beside, 0, r < 0 ? NULL : error);
    return r < 0 ? r : ended;
}

static int measure_round(const Beside *beside, Times *times, Error *error) {
    int r = by_podman(beside, &times->podman_first, error);
    if (r >= 0)
        r = by_ramet(beside, &times->first, error);
    for (int i = 0; i < AGAIN && r >= 0; i++) {
        r = by_podman(beside, &times->podman_second, error);
        if (r >= 0)
            r = by_ramet(beside, &times->second, error);
        if (r >= 0)
            r = with_pool(beside, &times->pooled, error);
    }
    return r;
}

/* ---- rounds ---- */

static int repack(const RegistryImage *image, uint32_t salt, Error *error) {
    for (size_t i = 0; i < image->n_layers; i++) {
        _cleanup_close_ int fd = open(image->layers[i], O_WRONLY | O_CLOEXEC);
        if (fd < 0 || fd_pwrite_full(fd, &salt, sizeof(salt), GZIP_TIME_OFFSET) < 0)
            return error_set_errno(error, errno, "cannot change %s", image->layers[i]);
    }
    return 0;
}

/* Nobody else has blobs of these names. */
static void forget_layers(const Beside *beside, const RegistryImage *image) {
    for (size_t i = 0; i < image->n_layers; i++) {
        _cleanup_close_ int fd = open(image->layers[i], O_RDONLY | O_CLOEXEC);
        char hex[SHA256_HEX_SIZE];
        if (fd < 0 || sha256_file(fd, hex, NULL) < 0)
            continue;
        _cleanup_free_ char *path = str_format("%s/oci/sha256/%s", beside->bench->home, hex);
        (void)unlink(path);
    }
}

static void forget(const Beside *beside, const RegistryImage *image) {
    _cleanup_free_ char *path = str_format("/v1/images/%s", beside->name);
    const char *const argv[] = {"podman", "--root", beside->root, "--runroot", beside->run_root,
                                "rmi",    "-a",     "-f",         NULL};
    (void)bench_undo(beside->bench, "DELETE", path, NULL, NULL);
    (void)bench_run_tool((char *const *)argv, NULL);
    forget_layers(beside, image);
}

static int run_rounds(Beside *beside, const RegistryImage *image, Times *times, Error *error) {
    int r = 0;
    for (size_t i = 0; i < beside->bench->runs && r >= 0; i++) {
        uint32_t salt;
        random_bytes(&salt, sizeof(salt));
        bench_say("%s beside podman, round %zu", image->name, i + 1);
        r = repack(image, salt, error);
        if (r >= 0)
            r = registry_push(&beside->registry, image, error);
        if (r >= 0)
            r = measure_round(beside, times, error);
        forget(beside, image);
    }
    return r;
}

static int measure_image(Beside *beside, const RegistryImage *image, Times *times, Error *error) {
    BenchReport *report = beside->bench->report;
    beside->name = image->name;
    free(beside->podman_reference);
    beside->podman_reference = str_format("%s/%s", beside->registry.address, image->name);
    free(beside->docker_reference);
    beside->docker_reference = str_format("docker://%s", beside->podman_reference);
    int r = run_rounds(beside, image, times, error);
    if (r < 0)
        return r;
    (void)report_add(report, &times->podman_first);
    report_add_ratio(report, &times->first, &times->podman_first, ASKED_FIRST, 0);
    (void)report_add(report, &times->podman_second);
    report_add_ratio(report, &times->second, &times->podman_second, ASKED_SECOND, 0);
    report_add_ratio(report, &times->pooled, &times->podman_second, ASKED_SECOND, 0);
    return 0;
}

/* ---- all of it ---- */

#define TIMES(what)                                                                                \
    {                                                                                              \
        .podman_first = {.name = "podman pull and run of " what ", the first time",                \
                         .label = "podman, first",                                                 \
                         .unit = "us"},                                                            \
        .first = {.name = "ramet image pull and run of " what ", the first time", .unit = "us"},   \
        .podman_second = {.name = "podman pull and run of " what ", the second time",              \
                          .label = "podman, second",                                               \
                          .unit = "us"},                                                           \
        .second = {.name = "ramet image pull and run of " what ", the second time", .unit = "us"}, \
        .pooled = {.name = "the same with a pool of one", .unit = "us"},                           \
    }

static int measure(Beside *beside, const RegistryImage *small, const RegistryImage *large,
                   Error *error) {
    static Times of_small = TIMES("a small image"), of_large = TIMES("a large image");
    int r = registry_start(&beside->registry, beside->registry.folder, error);
    if (r >= 0)
        r = measure_image(beside, small, &of_small, error);
    return r < 0 ? r : measure_image(beside, large, &of_large, error);
}

int bench_image_podman(Bench *bench, const char *folder, const RegistryImage *small,
                       const RegistryImage *large, Error *error) {
    _cleanup_(beside_free) Beside beside = {.bench = bench, .registry.folder = folder};
    _cleanup_free_ char *podman = path_find_program("podman");
    _cleanup_error_ Error failure = ERROR_INIT;
    beside.root = path_join(folder, "podman");
    beside.run_root = path_join(folder, "podman-run");
    beside.ramet = path_find_sibling("ramet");
    int r = podman && beside.ramet
                ? measure(&beside, small, large, &failure)
                : error_set(&failure, ERROR_UNSUPPORTED, ENOENT, "podman is not installed");
    if (r == -ECANCELED)
        return error_move(error, &failure);
    if (r < 0)
        report_failure(bench->report, "podman", &failure);
    else
        report_note(bench->report, "the manifests that were pulled stay until ramet prune");
    return 0;
}
