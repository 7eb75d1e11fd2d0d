/* SPDX-License-Identifier: Apache-2.0 */
/* The measuring is done by ramet-bench, a program of its own, since it needs what the client must
 * not link. */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "cli/args.h"
#include "cli/client.h"
#include "cli/verb_rows.h"

static int check_what(const char *what, Error *error) {
    static const char *const kinds[] = {"archive", "boot",  "density", "disk", "exec",
                                        "fork",    "image", "net",     "seed", "size"};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (str_equal(kinds[i], what))
            return 0;
    (void)error_set(error, ERROR_USAGE, EINVAL,
                    "bench: WHAT: \"%.40s\" is none of archive, boot, density, disk, exec, fork, "
                    "image, net, seed, size",
                    what);
    error_set_hint(error, "see ramet bench --help");
    return -EINVAL;
}

static int bench_run(const Args *args, Error *error) {
    static const char *const passed[] = {"rounds", "image",   "archive", "memory", "accel",
                                         "parts",  "written", "clones",  "idle"};
    _cleanup_free_ char *program = path_find_sibling("ramet-bench");
    _cleanup_(strlist_free) StrList argv = {0};
    _cleanup_close_ int fd = -1;
    int r = check_what(args->operands[0], error);
    if (r >= 0 && args_given(args, "accel")) /* for the daemon, should it be started here */
        (void)setenv("RAMET_ACCEL", args_text(args, "accel"), 1);
    if (r >= 0)
        r = client_connect(&fd, error); /* starts the daemon, which the program does not */
    if (r < 0)
        return r;
    if (!program)
        return error_set(error, ERROR_FAILED, ENOENT, "cannot find ramet-bench");
    strlist_add_many(&argv, "ramet-bench", args->operands[0], NULL);
    for (size_t i = 0; i < ARRAY_SIZE(passed); i++)
        if (args_given(args, passed[i])) {
            strlist_add_format(&argv, "--%s", passed[i]);
            strlist_add(&argv, args_text(args, passed[i]));
        }
    if (args->json)
        strlist_add(&argv, "--json");
    (void)execv(program, argv.items);
    return error_set_errno(error, errno, "cannot run %s", program);
}

static const VerbOption options[] = {
    {0, "rounds", ARG_NUMBER, .help = "how many times each is measured", .min = 1, .max = 256},
    {0, "image", ARG_IMAGE, .help = "image to measure with"},
    {0, "archive", ARG_FILE, "FILE.img.zst", .help = "disk: the compressed image to extract"},
    {0, "memory", ARG_SIZE, .help = "fork: memory of the guests; 256M when absent"},
    {0, "accel", ARG_TEXT, "ACCEL", .help = "kvm or tcg; the daemon's when absent"},
    {0, "parts", ARG_TEXT, "LIST",
     .help = "fork, net, image: only these parts, with commas between"},
    {0, "written", ARG_SIZE, .help = "fork: the most that prepared VMs write; 1G when absent"},
    {0, "clones", ARG_NUMBER, .help = "density: how many, 1000 when absent", .min = 1,
     .max = 10000},
    {0, "idle", ARG_NUMBER, .help = "density: seconds that they are left idle; 60 when absent",
     .min = 1, .max = 3600},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"WHAT", ARG_TEXT, "archive, boot, density, disk, exec, fork, image, net, seed or size", 1, 1},
    {.name = NULL},
};

const Verb verb_bench = {
    .name = "bench",
    .summary = "measure this host",
    .options = options,
    .operands = operands,
    .description =
        "Measures WHAT and prints medians, side by side with the stock way of doing it.\n"
        "\n"
        "  boot   cold boot to ready, beside plain QEMU\n"
        "  density  how many clones of one snapshot fit (at most --clones), and what one costs:\n"
        "         the fall of MemAvailable divided by their number, and its processor time\n"
        "         during an idle minute\n"
        "  disk   overlays beside qemu-img; disks of eight VMs beside zstd -d\n"
        "  exec   exec true, and copies of 64 MiB both ways\n"
        "  fork   forks, claims, pauses and memory of clones, beside cold boots, QEMU's own\n"
        "         migration to a file and libvirt; F is the time from QEMU's exec to its "
        "greeting.\n"
        "         Parts: starts, sixteen, wakes, pauses, memory, runs, generations, sizes, crowd,\n"
        "         prepared (VMs that wrote 1 to 1,024 MiB), workloads (Debian with a Python and\n"
        "         a PostgreSQL; says which image it needs), live (forks of such, running), stock\n"
        "  image  layers of an image of a container beside tar -x of them\n"
        "  seed   VMs with a seed beside those without, building one, overlays beside copies\n"
        "  size   memory of the daemon with 100 VMs known and of a keeper; the agent's size\n"
        "\n"
        "With --accel kvm the guest is busybox, or the image \"bare\" where /dev/kvm only\n"
        "interprets and boots no kernel (tests/guests/bare/README.md); --image names another\n"
        "one. The report says which. A daemon that runs already must use that accelerator.",
    .examples = "ramet bench boot",
    .flags = VERB_JSON,
    .run = bench_run,
};
