/* SPDX-License-Identifier: Apache-2.0 */

/* A recipe whose last step was changed, built again, beside that step's command alone: `ramet exec`
 * of it in a VM that runs. What is more is a fork, a snapshot, and the image's disk. */

#include <errno.h>
#include <stdio.h>

#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "bench/bench.h"
#include "bench/scratch.h"

#define IMAGE_NAME "bench-recipe"

/* Some seconds of a guest's processor, and a file. */
#define WORK \
    "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; dd if=/dev/zero of=/made bs=64k count=64"

static int write_recipe(const Bench *bench, const char *folder, size_t round, Error *error) {
    _cleanup_free_ char *path = path_join(folder, "recipe.yaml");
    _cleanup_free_ char *text = str_format("base: %s\nnetwork: none\nsteps:\n"
                                           "  - run: echo one > /one\n"
                                           "  - run: echo two > /two\n"
                                           "  - run: \"%s # %zu\"\n",
                                           bench->image, WORK, round);
    FILE *file = fopen(path, "we");
    bool written = file && fputs(text, file) >= 0;
    if (file && fclose(file) != 0)
        written = false;
    return written ? 0 : error_set_errno(error, EIO, "cannot write %s", path);
}

static int build(const Bench *bench, const char *folder, size_t round, uint64_t *usec,
                 Error *error) {
    _cleanup_free_ char *path = path_join(folder, "recipe.yaml");
    const char *const words[] = {"image", "build", IMAGE_NAME, "-f", path, NULL};
    int r = write_recipe(bench, folder, round, error);
    return r < 0 ? r : bench_cli(bench, words, usec, error);
}

static int run_alone(const Bench *bench, const json_t *vm, uint64_t *usec, Error *error) {
    const char *id = json_string_value(json_object_get(vm, "id"));
    const char *const words[] = {"exec", id, "--", "sh", "-c", WORK, NULL};
    return bench_cli(bench, words, usec, error);
}

static int measure(Bench *bench, const char *folder, const json_t *vm, Error *error) {
    static Samples alone = {.name = "a recipe's last step: its command alone",
                            .label = "the command alone",
                            .unit = "us"};
    static Samples rebuilt = {.name = "the recipe with that step changed, built again",
                              .unit = "us"};
    uint64_t usec;
    int r = build(bench, folder, 0, &usec, error);
    for (size_t i = 0; i < bench->runs && r >= 0; i++) {
        bench_say("recipe, round %zu", i + 1);
        r = run_alone(bench, vm, &usec, error);
        if (r >= 0)
            samples_add(&alone, (double)usec);
        if (r >= 0)
            r = build(bench, folder, i + 1, &usec, error);
        if (r >= 0)
            samples_add(&rebuilt, (double)usec);
    }
    if (r < 0)
        return r;
    (void)report_add(bench->report, &alone);
    report_add_ratio(bench->report, &rebuilt, &alone, 2, 0);
    report_note(bench->report, "the steps stay until ramet prune");
    return 0;
}

int bench_recipe(Bench *bench, Error *error) {
    _cleanup_(bench_scratch_remove) char *folder = NULL;
    _cleanup_json_ json_t *vm = NULL;
    int r = bench_scratch_new(bench, &folder, error);
    if (r >= 0)
        r = bench_vm_start(bench, json_object(), &vm, NULL, error);
    if (r < 0)
        return r;
    r = measure(bench, folder, vm, error);
    (void)bench_undo(bench, "DELETE", "/v1/images/" IMAGE_NAME, NULL, NULL);
    if (r < 0) {
        (void)bench_vm_remove(bench, vm, NULL);
        return r;
    }
    return bench_vm_remove(bench, vm, error);
}
