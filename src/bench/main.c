/* SPDX-License-Identifier: Apache-2.0 */

/* ramet-bench WHAT [--rounds N] [--image NAME] [--archive FILE] [--memory SIZE]
 * [--svg FILE] [--json]: started by `ramet bench`.
 */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/fd.h"
#include "base/log.h"
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
    {"boot", 5, bench_boot, "cold boot to ready, beside plain QEMU"},
    {"disk", 3, bench_disk, "overlays beside qemu-img; disks of eight VMs beside zstd -d"},
    {"exec", 20, bench_exec, "exec true, and copies of 64 MiB both ways"},
    {"size", 1, bench_size, "memory of daemon and keeper, size of the agent"},
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
                          "[--memory SIZE] [--svg FILE] [--json]\n");
    for (size_t i = 0; i < ARRAY_SIZE(bench_kinds); i++)
        (void)fprintf(stderr, "  %-6s %s\n", bench_kinds[i].name, bench_kinds[i].summary);
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
        {"rounds", required_argument, NULL, 'n'}, {"runs", required_argument, NULL, 'n'},
        {"image", required_argument, NULL, 'i'},  {"archive", required_argument, NULL, 'a'},
        {"memory", required_argument, NULL, 'm'}, {"svg", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},         {0}};
    uint64_t runs = 0;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'n' && (parse_u64(optarg, SAMPLES_MAX, &runs) < 0 || runs == 0))
            return -EINVAL;
        if (c == 'm' && parse_size(optarg, &bench->memory_bytes) < 0)
            return -EINVAL;
        if (c == 'i')
            bench->image = optarg;
        else if (c == 'a')
            bench->archive = optarg;
        else if (c == 's')
            bench->svg = optarg;
        else if (c == 'j')
            *json = true;
        else if (c != 'n' && c != 'm')
            return -EINVAL;
    }
    bench->runs = runs;
    return optind == argc - 1 ? 0 : -EINVAL;
}

int main(int argc, char **argv) {
    Bench bench = {.image = "busybox", .memory_bytes = 256 * MIB};
    bool json = false;
    log_init("ramet-bench", LOG_LEVEL_WARNING);
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
