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

#define INSPECT_USEC (10 * 60 * USEC_PER_SEC)
#define FETCH_USEC (24 * 3600 * USEC_PER_SEC)
#define AUTH_FD 3

/* What skopeo says, and what that means to whoever asked. Its own words stay in the message. */
static const struct {
    const char *said;
    ErrorKind kind;
    const char *hint;
} MEANINGS[] = {
    {"unauthorized", ERROR_PERMISSION, "log in with skopeo login HOST, or name --authfile"},
    {"authentication required", ERROR_PERMISSION,
     "log in with skopeo login HOST, or name --authfile"},
    {"denied", ERROR_PERMISSION, "log in with skopeo login HOST, or name --authfile"},
    {"Source image rejected", ERROR_PERMISSION, "see /etc/containers/policy.json"},
    {"rejected by policy", ERROR_PERMISSION, "see /etc/containers/policy.json"},
    {"policy.json", ERROR_UNSUPPORTED, "install the package golang-github-containers-common"},
    {"manifest unknown", ERROR_NOT_FOUND, "see what there is: skopeo list-tags docker://PATH"},
    {"name unknown", ERROR_NOT_FOUND, NULL},
    {"no such host", ERROR_NOT_FOUND, NULL},
    {"server gave HTTP response to HTTPS", ERROR_FAILED,
     "a registry that speaks plain http is pulled from with --insecure"},
    {"certificate", ERROR_FAILED, "--insecure pulls from it all the same"},
    {"no space left", ERROR_NO_SPACE, "make room on the file system of the home"},
    {"does not match", ERROR_CORRUPT, "the registry, or somebody on the way, changed it"},
    {"connection refused", ERROR_FAILED, "does the registry run?"},
};

/* The text of `msg="…"` of its last line of level fatal. */
static char *what_it_said(const SpawnOutput *output) {
    const char *text = output->err ? output->err : "", *found = NULL;
    StrBuf said = {0};
    for (const char *p = strstr(text, "level=fatal msg=\""); p;
         p = strstr(p + 1, "level=fatal msg=\""))
        found = p + strlen("level=fatal msg=\"");
    for (; found && *found && *found != '"' && *found != '\n'; found++) {
        if (*found == '\\' && found[1])
            found++;
        strbuf_add(&said, found, 1);
    }
    _cleanup_free_ char *whole = strbuf_steal(&said);
    return str_sanitize(whole, strnlen(whole, 600));
}

static int explain(const SpawnOutput *output, Error *found, Error *error) {
    _cleanup_free_ char *said = what_it_said(output);
    if (found->kind != ERROR_FAILED || !*said)
        return error_move(error, found);
    for (size_t i = 0; i < ARRAY_SIZE(MEANINGS); i++)
        if (strstr(said, MEANINGS[i].said)) {
            error_set(error, MEANINGS[i].kind, 0, "%s", said);
            if (MEANINGS[i].hint)
                error_set_hint(error, "%s", MEANINGS[i].hint);
            return error ? -error->errnum : -EIO;
        }
    return error_set(error, ERROR_FAILED, EIO, "%s", said);
}

static int run(const OciRegistry *registry, const StrList *argv, uint64_t timeout_usec,
               SpawnOutput *output, Error *error) {
    SpawnFd auth = {registry->auth_fd, AUTH_FD};
    _cleanup_error_ Error found = ERROR_INIT;
    SpawnOptions options = {.program = argv->items[0],
                            .argv = argv->items,
                            .fds = &auth,
                            .n_fds = registry->auth_fd >= 0 ? 1 : 0,
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
    return r < 0 ? explain(output, &found, error) : 0;
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
