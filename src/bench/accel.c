/* SPDX-License-Identifier: Apache-2.0 */

/* Which accelerator and which guest are measured. A KVM that interprets boots no kernel, but the
 * bare guest of the tests, which shows what Ramet and QEMU do around a guest. */

#include <errno.h>

#include "base/path.h"
#include "base/str.h"
#include "bench/bench.h"
#include "qemu/accel.h"

#define STOCK_IMAGE "busybox"
#define BARE_IMAGE "bare"
#define BARE_PARTS "starts,pauses,memory,generations" /* what needs no kernel */

static int check_image(const Bench *bench, Error *error) {
    _cleanup_free_ char *path = str_format("/v1/images/%s", bench->image);
    int r = bench_call(bench, "GET", path, NULL, NULL, error);
    if (r == -ENOENT && str_equal(bench->image, BARE_IMAGE))
        error_set_hint(error, "tests/guests/bare/README.md has the command that imports it; "
                              "--image names another one");
    return r;
}

/* The bench's own probe, since it has to know why; the daemon's is remembered, and is the same. */
static int probe_kvm(const Bench *bench, AccelProbe *probe, Error *error) {
    _cleanup_free_ char *keeper = path_find_sibling("ramet-keeper");
    _cleanup_free_ char *reason = NULL;
    char *helper[] = {keeper, (char *)"--probe-kvm", NULL};
    const char *chosen;
    if (!keeper)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "cannot find ramet-keeper");
    accel_probe_cached(bench->home, "kvm", helper, probe, NULL);
    int r = accel_choose("kvm", probe, &chosen, &reason, error);
    if (r < 0)
        error_set_hint(error, "--accel tcg measures software emulation");
    return r;
}

static int choose_for_kvm(Bench *bench, Error *error) {
    AccelProbe probe = {0};
    int r = probe_kvm(bench, &probe, error);
    if (r < 0)
        return r;
    bool bare = probe.outcome == ACCEL_OUTCOME_INTERPRETED && !bench->image;
    if (!bench->image)
        bench->image = bare ? BARE_IMAGE : STOCK_IMAGE;
    if (bare && !bench->parts) {
        bench->parts = BARE_PARTS;
        report_note(bench->report, "only the parts that need no kernel: " BARE_PARTS);
    }
    r = check_image(bench, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *words = accel_probe_describe(&probe);
    report_note(bench->report, "accelerator kvm, image %s: %s", bench->image, words);
    return 0;
}

int bench_choose(Bench *bench, Error *error) {
    if (str_equal(bench->accel, "kvm"))
        return choose_for_kvm(bench, error);
    if (!bench->image)
        bench->image = STOCK_IMAGE;
    if (bench->accel)
        report_note(bench->report, "accelerator %s, image %s", bench->accel, bench->image);
    return 0;
}
