/* SPDX-License-Identifier: Apache-2.0 */

/* A VM gets its host key once: when it boots first, or when it becomes another than its source. It
 * is remembered when the guest has taken it, so a start that failed gives the next one a new key,
 * and a guest without a server has none that is known. A clone that keeps its names has the key of
 * its source; one that was warm has its own since then. */

#include "run/launch_ssh.h"

#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "home/ssh_identity.h"

static bool becomes_another(const VmRow *row, const Restore *restore) {
    if (!restore || restore->kernel_only)
        return !*row->runtime.ssh_host_key;
    return restore->clone && !restore->keep && restore->snapshot;
}

static void plan_host_key(PlanIdentity *identity) {
    _cleanup_free_ char *comment = str_format("root@%s", identity->hostname);
    _cleanup_error_ Error error = ERROR_INIT;
    identity->new_ssh_keys = true;
    if (ssh_key_make(comment, identity->ssh_key, identity->ssh_public_key, &error) < 0)
        log_warning("the guest makes its SSH host keys itself: %s", error_message(&error));
}

static void plan_logins(const VmSpec *spec, PlanIdentity *identity) {
    StrBuf lines = {0};
    for (size_t i = 0; i < spec->ssh_keys.count; i++)
        strbuf_add_format(&lines, "%s\n", spec->ssh_keys.items[i]);
    for (size_t i = 0; i < lines.size; i++) /* in a comment; the plan is ASCII */
        if (lines.data[i] != '\n' && ((unsigned char)lines.data[i] < ' ' || lines.data[i] > '~'))
            lines.data[i] = '?';
    str_set(identity->authorized_keys, str_or_empty(lines.data));
    strbuf_free(&lines);
    str_set(identity->login_user, str_or_empty(spec->config.user));
}

void launch_plan_ssh(const Home *home, VmRow *row, const Restore *restore, PlanIdentity *identity) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (becomes_another(row, restore))
        plan_host_key(identity);
    if (restore && restore->keep && restore->snapshot)
        str_set(row->runtime.ssh_host_key, restore->snapshot->data.ssh_host_key);
    if (ssh_identity_ensure(home, identity->home_key, &error) < 0)
        log_warning("%s is without the home's SSH key: %s", row->name, error_message(&error));
    plan_logins(&row->spec, identity);
}

void launch_note_ssh(VmRow *row, const PlanIdentity *identity, bool took_key) {
    if (took_key)
        str_set(row->runtime.ssh_host_key, identity->ssh_public_key);
}
