/* SPDX-License-Identifier: Apache-2.0 */

/* ramet-bench WHAT [--rounds N] [--image NAME] [--archive FILE] [--memory SIZE]
 * [--accel kvm|tcg] [--parts LIST] [--written SIZE] [--clones N] [--idle SECONDS]
 * [--json]: started by `ramet bench`.
 */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "bench/bench.h"
#include "proto/paths.h"

typedef struct BenchKind {
    const char *name;
    size_t default_runs;
    int (*run)(Bench *bench, Error *error);
    const char *summary;
} BenchKind;

static const BenchKind bench_kinds[] = {
    {"archive", 5, bench_archives, "export and import of images and snapshots beside zstd -T0"},
    {"boot", 5, bench_boot, "cold boot to ready, beside plain QEMU"},
    {"disk", 3, bench_disk, "overlays beside qemu-img; disks of eight VMs beside zstd -d"},
    {"exec", 20, bench_exec, "exec true, and copies of 64 MiB both ways"},
    {"image", 5, bench_images,
     "layers beside tar -x; pull and run beside podman; a recipe's last step"},
    {"seed", 5, bench_seed,
     "VMs with a seed beside those without; building; overlays beside copies"},
    {"size", 1, bench_size, "memory of daemon and keeper, size of the agent"},
    {"density", 1, bench_density, "how many clones fit, and what one of them costs"},
    {"net", 5, bench_net, "networks: what a frame and a port of the switch cost"},
    {"fork", 20, bench_fork, "forks, claims, pauses, memory; beside cold boots and stock ways"},
};

static const BenchKind *kind_find(const char *name) {
    for (size_t i = 0; i < ARRAY_SIZE(bench_kinds); i++)
        if (str_equal(bench_kinds[i].name, name))
            return &bench_kinds[i];
    return NULL;
}

static int usage(void) {
    (void)fprintf(stderr, "usage: ramet bench WHAT [--rounds N] [--image NAME] [--archive FILE] "
                          "[--memory SIZE] [--accel kvm|tcg] [--parts LIST] [--written SIZE] "
                          "[--clones N] [--idle SECONDS] [--json]\n");
    for (size_t i = 0; i < ARRAY_SIZE(bench_kinds); i++)
        (void)fprintf(stderr, "  %-7s %s\n", bench_kinds[i].name, bench_kinds[i].summary);
    return error_kind_exit_status(ERROR_USAGE);
}

static int print_error(const Error *error, bool json) {
    if (json) {
        _cleanup_json_ json_t *document = json_from_error(error);
        _cleanup_free_ char *text = json_to_text(document);
        (void)puts(text);
    } else
        (void)fprintf(stderr, "ramet: bench: %s%s%s\n", error_message(error),
                      error->hint ? "; " : "", error->hint ? error->hint : "");
    return error_kind_exit_status(error->kind);
}

static int run(const BenchKind *kind, Bench *bench, bool json) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_(report_free) BenchReport report = {.what = kind->name};
    bench->report = &report;
    if (bench->runs == 0)
        bench->runs = kind->default_runs;
    int r = paths_home(&bench->home, &error);
    if (r >= 0)
        r = paths_socket(&bench->socket, &error);
    if (r >= 0)
        r = bench_choose(bench, &error);
    if (r >= 0)
        r = kind->run(bench, &error);
    if (r < 0)
        return print_error(&error, json);
    if (json) {
        _cleanup_json_ json_t *document = report_to_json(&report);
        _cleanup_free_ char *text = json_dumps(document, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        (void)puts(text);
    } else
        report_print(&report);
    return report.failures ? error_kind_exit_status(ERROR_FAILED) : 0;
}

/* Who ends the program wants what it made taken back. -1: then it ends at once. */
static int watch_signals(void) {
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (fd >= 0)
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
    return fd;
}

static int parse_options(int argc, char **argv, Bench *bench, bool *json) {
    static const struct option options[] = {
        {"rounds", required_argument, NULL, 'n'},  {"runs", required_argument, NULL, 'n'},
        {"image", required_argument, NULL, 'i'},   {"accel", required_argument, NULL, 'x'},
        {"archive", required_argument, NULL, 'a'}, {"memory", required_argument, NULL, 'm'},
        {"parts", required_argument, NULL, 'p'},   {"written", required_argument, NULL, 'w'},
        {"clones", required_argument, NULL, 'c'},  {"idle", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},          {0},
    };
    uint64_t runs = 0, clones = 1000, idle = 60;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'n' && (parse_u64(optarg, SAMPLES_MAX, &runs) < 0 || runs == 0))
            return -EINVAL;
        if (c == 'c' && (parse_u64(optarg, 10000, &clones) < 0 || clones == 0))
            return -EINVAL;
        if (c == 's' && (parse_u64(optarg, 3600, &idle) < 0 || idle == 0))
            return -EINVAL;
        if (c == 'm' && parse_size(optarg, &bench->memory_bytes) < 0)
            return -EINVAL;
        if (c == 'x' && !str_equal(optarg, "kvm") && !str_equal(optarg, "tcg"))
            return -EINVAL;
        if (c == 'w' && parse_size(optarg, &bench->written_bytes) < 0)
            return -EINVAL;
        if (c == 'i')
            bench->image = optarg;
        else if (c == 'x')
            bench->accel = optarg;
        else if (c == 'a')
            bench->archive = optarg;
        else if (c == 'p')
            bench->parts = optarg;
        else if (c == 'j')
            *json = true;
        else if (!strchr("nmwcs", c))
            return -EINVAL;
    }
    bench->runs = runs;
    bench->clones = clones;
    bench->idle_sec = idle;
    return optind == argc - 1 ? 0 : -EINVAL;
}

int main(int argc, char **argv) {
    Bench bench = {.memory_bytes = 256 * MIB, .written_bytes = GIB};
    bool json = false;
    if (fd_open_standard() < 0)
        return 1;
    log_init("ramet-bench", LOG_LEVEL_WARNING);
    path_add_system_folders();
    if (parse_options(argc, argv, &bench, &json) < 0)
        return usage();
    const BenchKind *kind = kind_find(argv[optind]);
    if (!kind)
        return usage();
    bench.cancel_fd = watch_signals();
    int status = run(kind, &bench, json);
    free(bench.home);
    free(bench.socket);
    (void)fd_close(bench.cancel_fd);
    return status;
}
