/* SPDX-License-Identifier: Apache-2.0 */

#include "cli/registry_verbs.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "cli/client.h"
#include "cli/export_file.h"
#include "cli/image_args.h"
#include "cli/output.h"
#include "cli/registry.h"

bool registry_is_insecure(const Args *args) {
    return args_flag(args, "insecure") || str_equal(args_text(args, "tls-verify"), "false");
}

static Registry registry_of(const Args *args, const char *reference, const char *kind) {
    return (Registry){.reference = reference,
                      .kind = kind,
                      .authfile = args_text(args, "authfile"),
                      .insecure = registry_is_insecure(args)};
}

static int take(void *data, const void *bytes, size_t size, Error *error) {
    return archive_split_add(data, bytes, size, error);
}

/* It is cut into the registry's blobs as it comes. */
int registry_push_verb(const Args *args, ApiId id, const char *kind, const char *query,
                       Error *error) {
    const char *name = args->operands[0], *reference = args->operands[1];
    const Registry registry = registry_of(args, reference, kind);
    _cleanup_registry_folder_ RegistryFolder folder = REGISTRY_FOLDER_INIT;
    _cleanup_free_ char *blobs = NULL;
    _cleanup_(archive_split_free_p) ArchiveSplit *split = NULL;
    _cleanup_json_ json_t *report = NULL;
    const ArchiveParts *parts;
    uint64_t bytes = 0;
    int r = registry_check(reference, error);
    if (r >= 0)
        r = registry_folder_new(&folder, error);
    if (r < 0)
        return r;
    blobs = registry_folder_blobs(&folder);
    split = archive_split_new(blobs);
    r = export_stream(id, name, query, take, split, &bytes, error);
    if (r >= 0)
        r = archive_split_end(split, &parts, error);
    if (r >= 0)
        r = registry_push(&registry, &folder, parts, error);
    if (r < 0)
        return r;
    report = json_pack("{s:s, s:s, s:I}", kind, name, "reference", reference, "bytes",
                       (json_int_t)bytes);
    return output_json_or_line(args, report, reference, error);
}

/* ---- pulling ---- */

static char *below_variable(const char *variable, const char *rest) {
    const char *folder = getenv(variable);
    return folder && *folder ? path_join(folder, rest) : NULL;
}

/* Where podman and skopeo keep credentials (containers-auth.json(5)): the daemon has another
 * environment than the user. The first that is there; NULL: none. */
static char *find_authfile(void) {
    char *places[] = {str_copy(getenv("REGISTRY_AUTH_FILE")),
                      below_variable("XDG_RUNTIME_DIR", "containers/auth.json"),
                      str_format("/run/containers/%u/auth.json", (unsigned)geteuid()),
                      below_variable("XDG_CONFIG_HOME", "containers/auth.json"),
                      below_variable("HOME", ".config/containers/auth.json"),
                      below_variable("HOME", ".docker/config.json")};
    char *found = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        if (!found && places[i] && access(places[i], R_OK) == 0)
            found = places[i];
        else
            free(places[i]);
    }
    return found;
}

static int add_authfile(const Args *args, json_t *request, Error *error) {
    _cleanup_free_ char *found =
        args_text(args, "authfile") ? str_copy(args_text(args, "authfile")) : find_authfile();
    _cleanup_free_ char *absolute = NULL;
    int r = found ? image_args_path(found, &absolute, error) : 0;
    if (r >= 0 && absolute)
        json_object_set_new(request, "authfile", json_string(absolute));
    return r;
}

/* Where the path ends: a folder's name may have colons, but for what comes last. */
static size_t path_length(const char *path, bool folder) {
    const char *colon = folder ? strrchr(path, ':') : strchr(path, ':');
    return colon && !(folder && strchr(colon, '/')) ? (size_t)(colon - path) : strlen(path);
}

/* The daemon has another working folder. */
static int add_path(const char *reference, json_t *request, Error *error) {
    static const char *const KINDS[] = {"oci:", "oci-archive:", "docker-archive:"};
    for (size_t i = 0; i < ARRAY_SIZE(KINDS); i++) {
        const char *path = reference + strlen(KINDS[i]);
        _cleanup_free_ char *own = NULL, *absolute = NULL, *text = NULL;
        if (!str_has_prefix(reference, KINDS[i]) || *path == '/' || !*path)
            continue;
        own = strndup(path, path_length(path, i == 0));
        if (image_args_path(own, &absolute, error) < 0)
            return -EINVAL;
        text = str_format("%s%s%s", KINDS[i], absolute, path + strlen(own));
        json_object_set_new(request, "reference", json_string(text));
        return 0;
    }
    json_object_set_new(request, "reference", json_string(reference));
    return 0;
}

int registry_add_reference(const Args *args, json_t *request, Error *error) {
    int r = add_path(args->operands[0], request, error);
    if (args_text(args, "name"))
        json_object_set_new(request, "name", json_string(args_text(args, "name")));
    json_object_set_new(request, "insecure", json_boolean(registry_is_insecure(args)));
    return r < 0 ? r : add_authfile(args, request, error);
}
