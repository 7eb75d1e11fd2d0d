/* SPDX-License-Identifier: Apache-2.0 */
#include "image/oci/oci_skopeo.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "base/str.h"
#include "disk/publish.h"
#include "image/image_parts.h"
#include "proto/skopeo_error.h"

#define INSPECT_USEC (10 * 60 * USEC_PER_SEC)
#define FETCH_USEC (24 * 3600 * USEC_PER_SEC)
#define AUTH_FD 3
#define FILE_FD 4

static int run_with(const OciRegistry *registry, const SpawnFd *with, const StrList *argv,
                    uint64_t timeout_usec, SpawnOutput *output, Error *error) {
    _cleanup_error_ Error found = ERROR_INIT;
    SpawnOptions options = {.program = argv->items[0],
                            .argv = argv->items,
                            .fds = with,
                            .n_fds = with->from >= 0 ? 1 : 0,
                            .new_session = true,
                            .die_with_parent = true};
    int r;
    _cleanup_free_ char *program = path_find_program(argv->items[0]);
    if (!program) {
        error_set(error, ERROR_UNSUPPORTED, ENOENT,
                  "skopeo is needed to pull from a registry, and "
                  "is not installed");
        error_set_hint(error, "install the package skopeo");
        return -ENOENT;
    }
    r = spawn_run(&options, timeout_usec, registry->context->cancel_fd, output, &found);
    return r < 0 ? skopeo_explain(output, &found, error) : 0;
}

static int run(const OciRegistry *registry, const StrList *argv, uint64_t timeout_usec,
               SpawnOutput *output, Error *error) {
    const SpawnFd auth = {registry->auth_fd, AUTH_FD};
    return run_with(registry, &auth, argv, timeout_usec, output, error);
}

static void add_options(const OciRegistry *registry, const char *prefix, StrList *argv) {
    if (registry->insecure)
        strlist_add_format(argv, "--%stls-verify=false", prefix);
    if (registry->auth_fd >= 0) {
        strlist_add_format(argv, "--%sauthfile", prefix);
        strlist_add_format(argv, "/proc/self/fd/%d", AUTH_FD);
    }
}

int oci_skopeo_inspect(const OciRegistry *registry, const char *which, bool config, char **text,
                       size_t *size, Error *error) {
    _cleanup_(strlist_free) StrList argv = {0};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    int r;
    strlist_add_many(&argv, "skopeo", "inspect", "--raw", NULL);
    if (config)
        strlist_add(&argv, "--config");
    add_options(registry, "", &argv);
    strlist_add_format(&argv, "docker://%s%s", registry->repository, which);
    r = run(registry, &argv, INSPECT_USEC, &output, error);
    if (r < 0)
        return r;
    *text = TAKE_PTR(output.out);
    *size = output.out_size;
    return 0;
}

char *oci_skopeo_layout(const OciRegistry *registry) {
    _cleanup_free_ char *scratch = image_scratch_folder(registry->context);
    _cleanup_free_ char *name = scratch_name("oci");
    return path_join(scratch, name);
}

int oci_skopeo_fetch(const OciRegistry *registry, const char *which, const char *cache,
                     Error *error) {
    _cleanup_(strlist_free) StrList argv = {0};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    _cleanup_free_ char *layout = oci_skopeo_layout(registry);
    int r;
    strlist_add_many(&argv, "skopeo", "copy", "--quiet", "--remove-signatures",
                     "--dest-oci-accept-uncompressed-layers", "--dest-shared-blob-dir", cache,
                     NULL);
    add_options(registry, "src-", &argv);
    strlist_add_format(&argv, "docker://%s%s", registry->repository, which);
    strlist_add_format(&argv, "oci:%s:image", layout);
    r = run(registry, &argv, FETCH_USEC, &output, error);
    (void)path_remove_tree(layout);
    return r;
}

int oci_skopeo_copy(const OciRegistry *registry, const char *which, const char *layout,
                    Error *error) {
    _cleanup_(strlist_free) StrList argv = {0};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    strlist_add_many(&argv, "skopeo", "copy", "--quiet", "--remove-signatures",
                     "--preserve-digests", NULL);
    add_options(registry, "src-", &argv);
    strlist_add_format(&argv, "docker://%s%s", registry->repository, which);
    strlist_add_format(&argv, "oci:%s:archive", layout);
    return run(registry, &argv, FETCH_USEC, &output, error);
}

/* It gets the file open: the name may mean another by then, or one that the client may not read. */
int oci_skopeo_convert(const OciRegistry *registry, int fd, const char *image, const char *cache,
                       const char *layout, Error *error) {
    const SpawnFd file = {fd, FILE_FD};
    _cleanup_(strlist_free) StrList argv = {0};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    _cleanup_free_ char *scratch = image_scratch_folder(registry->context);
    strlist_add_many(&argv, "skopeo", "--tmpdir", scratch, "copy", "--quiet",
                     "--dest-oci-accept-uncompressed-layers", "--dest-shared-blob-dir", cache,
                     NULL);
    strlist_add_format(&argv, "docker-archive:/proc/self/fd/%d%s%s", FILE_FD, image ? ":" : "",
                       str_or_empty(image));
    strlist_add_format(&argv, "oci:%s:image", layout);
    return run_with(registry, &file, &argv, FETCH_USEC, &output, error);
}
