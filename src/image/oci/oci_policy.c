/* SPDX-License-Identifier: Apache-2.0 */
#include "image/oci/oci_policy.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"

#define POLICY_OF_USER ".config/containers/policy.json" /* in the home folder; it comes first */
#define POLICY_OF_HOST "/etc/containers/policy.json"
#define POLICY_MAX ((size_t)1 << 20)

/* [{"type":…}, …] */
static bool requirements_accept_all(const json_t *requirements) {
    const json_t *requirement;
    size_t i;
    bool all = json_array_size(requirements) > 0;
    json_array_foreach(requirements, i, requirement) {
        const char *type = json_string_value(json_object_get(requirement, "type"));
        all = all && type && str_equal(type, "insecureAcceptAnything");
    }
    return all;
}

/* {"TRANSPORT":{"SCOPE":[…]}} */
static bool transports_accept_all(json_t *transports) {
    const char *name, *scope;
    json_t *transport, *requirements;
    bool all = true;
    json_object_foreach(transports, name, transport) {
        all = all && json_is_object(transport);
        json_object_foreach(transport, scope, requirements) {
            all = all && requirements_accept_all(requirements);
        }
    }
    return all;
}

bool oci_policy_file_accepts_all(const char *path) {
    _cleanup_json_ json_t *policy = NULL;
    _cleanup_free_ char *text = NULL;
    size_t size;
    if (fd_read_file_at(AT_FDCWD, path, POLICY_MAX, &text, &size) < 0 ||
        json_parse("the policy", text, size, &policy, NULL) < 0)
        return false;
    return requirements_accept_all(json_object_get(policy, "default")) &&
           transports_accept_all(json_object_get(policy, "transports"));
}

/* As skopeo finds it; NULL: there is none. */
static char *policy_of_user(void) {
    const char *home = getenv("HOME");
    struct passwd entry, *found = NULL;
    char buffer[4096];
    if (!home || !*home) {
        (void)getpwuid_r(geteuid(), &entry, buffer, sizeof(buffer), &found);
        home = found ? found->pw_dir : NULL;
    }
    _cleanup_free_ char *path = home ? path_join(home, POLICY_OF_USER) : NULL;
    return path && access(path, F_OK) == 0 ? TAKE_PTR(path) : NULL;
}

bool oci_policy_accepts_all(void) {
    _cleanup_free_ char *own = policy_of_user();
    return oci_policy_file_accepts_all(own ? own : POLICY_OF_HOST);
}
