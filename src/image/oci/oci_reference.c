/* SPDX-License-Identifier: Apache-2.0 */
#include "image/oci/oci_reference.h"

#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"

#define REGISTRY "docker://"
#define FOLDER "oci:"
#define OCI_FILE "oci-archive:"
#define DOCKER_FILE "docker-archive:"
#define TEXT_MAX 1024
#define REFERENCE_CHARACTERS \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@[]"

static int refuse(const char *text, Error *error) {
    _cleanup_free_ char *shown = str_sanitize(text, strnlen(text, 200));
    error_set(error, ERROR_USAGE, EINVAL, "\"%s\" is no image to pull", shown);
    error_set_hint(error, "docker://[HOST[:PORT]/]PATH[:TAG][@sha256:HEX] for a registry, "
                          "oci:FOLDER[:TAG], oci-archive:FILE or docker-archive:FILE");
    return -EINVAL;
}

/* Cuts "@sha256:HEX" off. */
static int take_digest(char *text, char digest[SHA256_HEX_SIZE]) {
    char *at = strchr(text, '@');
    uint8_t bytes[SHA256_SIZE];
    if (!at)
        return 0;
    if (!str_has_prefix(at, "@sha256:") ||
        hex_decode(at + strlen("@sha256:"), bytes, sizeof(bytes)) < 0)
        return -EINVAL;
    hex_encode(bytes, sizeof(bytes), digest);
    *at = '\0';
    return 0;
}

/* Cuts ":TAG" off, which holds no slash. */
static char *take_tag(char *text) {
    char *colon = strrchr(text, ':');
    if (!colon || strchr(colon, '/') || !colon[1])
        return NULL;
    *colon = '\0';
    return str_copy(colon + 1);
}

/* skopeo cuts at the first colon, and so do we. */
static int parse_file(const char *text, bool docker, OciReference *reference, Error *error) {
    const char *path = text + strlen(docker ? DOCKER_FILE : OCI_FILE), *colon = strchr(path, ':');
    const char *image = colon ? colon + 1 : NULL;
    if (path[0] != '/' || strlen(text) > TEXT_MAX ||
        (image &&
         (!*image || *image == '-' || strspn(image, REFERENCE_CHARACTERS) != strlen(image))))
        return refuse(text, error);
    *reference =
        (OciReference){.file = colon ? strndup(path, (size_t)(colon - path)) : str_copy(path),
                       .docker = docker,
                       .tag = image ? str_copy(image) : NULL};
    return 0;
}

int oci_reference_parse(const char *text, OciReference *reference, Error *error) {
    if (str_has_prefix(text, DOCKER_FILE) || str_has_prefix(text, OCI_FILE))
        return parse_file(text, str_has_prefix(text, DOCKER_FILE), reference, error);
    bool registry = str_has_prefix(text, REGISTRY);
    const char *rest = text + (registry ? strlen(REGISTRY) : strlen(FOLDER));
    _cleanup_free_ char *copy = NULL;
    OciReference made = {0};
    if ((!registry && !str_has_prefix(text, FOLDER)) || !*rest || strlen(text) > TEXT_MAX)
        return refuse(text, error);
    if (registry && (strspn(rest, REFERENCE_CHARACTERS) != strlen(rest) || *rest == '-'))
        return refuse(text, error);
    copy = str_copy(rest);
    if (registry && take_digest(copy, made.digest) < 0)
        return refuse(text, error);
    made.tag = take_tag(copy);
    *(registry ? &made.repository : &made.folder) = TAKE_PTR(copy);
    if (registry ? !*made.repository : made.folder[0] != '/') {
        oci_reference_free(&made);
        return refuse(text, error);
    }
    *reference = made;
    return 0;
}

void oci_reference_free(OciReference *reference) {
    free(reference->repository);
    free(reference->folder);
    free(reference->file);
    free(reference->tag);
    *reference = (OciReference){0};
}

int oci_reference_name(const OciReference *reference, char **name, Error *error) {
    const char *path = reference->repository ? reference->repository
                       : reference->file     ? reference->file
                                             : reference->folder;
    _cleanup_free_ char *copy = str_copy(path);
    size_t size = strlen(copy);
    char *last, *suffix;
    while (size > 1 && copy[size - 1] == '/')
        copy[--size] = '\0';
    last = strrchr(copy, '/');
    last = last ? last + 1 : copy;
    suffix = reference->file ? strstr(last, ".tar") : NULL;
    if (suffix)
        *suffix = '\0';
    if (!name_is_valid(last)) {
        _cleanup_free_ char *shown = str_sanitize(last, strlen(last));
        error_set(error, ERROR_USAGE, EINVAL, "\"%s\" is no name for an image", shown);
        error_set_hint(error, "give it one with --name");
        return -EINVAL;
    }
    *name = str_copy(last);
    return 0;
}

/* One part up to a slash or the end. */
static int take_part(const char **text, char *part, size_t room) {
    size_t length = strcspn(*text, "/");
    if (length == 0 || length >= room ||
        strspn(*text, "abcdefghijklmnopqrstuvwxyz0123456789_.-") < length)
        return -EINVAL;
    memcpy(part, *text, length);
    part[length] = '\0';
    *text += length;
    if (**text == '/')
        (*text)++;
    return 0;
}

int oci_platform_parse(const char *text, OciPlatform *platform, Error *error) {
    OciPlatform made = {.os = "linux", .architecture = "amd64"};
    const char *rest = text;
    int r = 0;
    if (text && *text) {
        r = take_part(&rest, made.os, sizeof(made.os));
        if (r >= 0)
            r = take_part(&rest, made.architecture, sizeof(made.architecture));
        if (r >= 0 && *rest)
            r = take_part(&rest, made.variant, sizeof(made.variant));
        if (r < 0 || *rest || text[strlen(text) - 1] == '/') {
            error_set(error, ERROR_USAGE, EINVAL, "\"%.100s\" is no platform", text);
            error_set_hint(error, "OS/ARCH or OS/ARCH/VARIANT, such as linux/amd64");
            return -EINVAL;
        }
    }
    *platform = made;
    return 0;
}

char *oci_platform_text(const OciPlatform *platform) {
    return str_format("%s/%s%s%s", platform->os, platform->architecture,
                      *platform->variant ? "/" : "", platform->variant);
}
