/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/skopeo_error.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

#define PARSING "Error parsing image name \""

/* What skopeo says, and what that means to whoever asked. Its own words stay in the message. */
static const struct {
    const char *said;
    ErrorKind kind;
    const char *hint;
} MEANINGS[] = {
    {"invalid reference format", ERROR_USAGE, "docker://[HOST[:PORT]/]PATH[:TAG][@sha256:HEX]"},
    {"unauthorized", ERROR_PERMISSION, "log in with skopeo login HOST, or name --authfile"},
    {"authentication required", ERROR_PERMISSION,
     "log in with skopeo login HOST, or name --authfile"},
    {"denied", ERROR_PERMISSION, "log in with skopeo login HOST, or name --authfile"},
    {"Source image rejected", ERROR_PERMISSION, "see /etc/containers/policy.json"},
    {"rejected by policy", ERROR_PERMISSION, "see /etc/containers/policy.json"},
    {"policy.json", ERROR_UNSUPPORTED, "install the package golang-github-containers-common"},
    {"manifest unknown", ERROR_NOT_FOUND, "see what there is: skopeo list-tags docker://PATH"},
    {"Tag \"", ERROR_NOT_FOUND, "see what there is: tar -xOf FILE manifest.json"},
    {"expected 1 item", ERROR_USAGE, "name one of its images: docker-archive:FILE:NAME:TAG"},
    {"name unknown", ERROR_NOT_FOUND, NULL},
    {"no such host", ERROR_NOT_FOUND, NULL},
    {"server gave HTTP response to HTTPS", ERROR_FAILED,
     "name --insecure for a registry that speaks plain http"},
    {"certificate", ERROR_FAILED, "--insecure takes it all the same"},
    {"no space left", ERROR_NO_SPACE, "make room on the file system of the home"},
    {"does not match", ERROR_CORRUPT, "the registry, or somebody on the way, changed it"},
    {"connection refused", ERROR_FAILED, "does the registry run?"},
};

/* All that goes wrong with a registry is an error in "parsing image name" to skopeo. */
static const char *skip_parsing(const char *said) {
    const char *end = str_has_prefix(said, PARSING) ? strstr(said, "\": ") : NULL;
    return end ? end + strlen("\": ") : said;
}

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
    const char *reason = skip_parsing(whole);
    return str_sanitize(reason, strnlen(reason, 600));
}

int skopeo_explain(const SpawnOutput *output, Error *found, Error *error) {
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
