/* SPDX-License-Identifier: Apache-2.0 */

/* The ways without Ramet's forks, of the same guest: booting it, by Ramet and by plain QEMU;
 * QEMU's `migrate` to a file and back; libvirt's `save` and `restore`. */

#include <unistd.h>

#include "base/str.h"
#include "bench/fork_guests.h"
#include "bench/fork_parts.h"
#include "bench/fork_stages.h"
#include "bench/stock/libvirt.h"
#include "bench/stock/plain_migrate.h"

#define STOCK_RUNS 5

static int sample_cold(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *vm = NULL;
    int r = fork_vm_cold(bench, bench->bench->memory_bytes, &vm, error);
    if (r < 0)
        return r;
    fork_sample(bench, COLD_RAMET, fork_ready_usec(vm));
    fork_keep_start(bench, COLD_RAMET, vm);
    return bench_vm_remove(bench->bench, vm, error);
}

/* The boot that comes before the save is the plain boot as well. */
static int run_migrate(const PlainBoot *boot, void *data, Error *error) {
    ForkBench *bench = data;
    _cleanup_free_ char *file = str_format("%s.machine", boot->disk);
    PlainTimes times;
    int r = plain_migrate(boot, file, &times, error);
    (void)unlink(file);
    if (r < 0)
        return r;
    fork_sample(bench, COLD_PLAIN, (double)times.boot_usec);
    fork_sample(bench, MIGRATE_SAVE, (double)times.save_usec);
    fork_sample(bench, MIGRATE_RESTORE, (double)times.restore_usec);
    return 0;
}

static int run_libvirt(const PlainBoot *boot, void *data, Error *error) {
    ForkBench *bench = data;
    return libvirt_measure(boot, fork_slow_runs(bench, STOCK_RUNS), &bench->samples[LIBVIRT_SAVE],
                           &bench->samples[LIBVIRT_RESTORE], error);
}

/* It need not be installed. */
static int bench_libvirt(ForkBench *bench, Error *error) {
    _cleanup_error_ Error trouble = ERROR_INIT;
    bench_say("libvirt");
    int r = boot_files_with_disk(bench->bench, &bench->files, run_libvirt, bench, &trouble);
    if (r >= 0)
        return 0;
    if (trouble.kind != ERROR_UNSUPPORTED)
        return error_move(error, &trouble);
    report_note(bench->bench->report, "libvirt is left out: %s", error_message(&trouble));
    return 0;
}

int fork_bench_stock(ForkBench *bench, Error *error) {
    size_t runs = fork_slow_runs(bench, STOCK_RUNS);
    int r = 0;
    for (size_t i = 0; r >= 0 && i < runs; i++) {
        bench_say("stock ways %zu of %zu", i + 1, runs);
        r = sample_cold(bench, error);
        if (r >= 0)
            r = boot_files_with_disk(bench->bench, &bench->files, run_migrate, bench, error);
    }
    return r < 0 ? r : bench_libvirt(bench, error);
}
