/* SPDX-License-Identifier: Apache-2.0 */
/* VMs as hosts of ssh, and the settings by which it finds them. */
#include "cli/ssh_config.h"

#include <stdlib.h>

#include "check.h"
#include "cli/vm_host.h"

static void check_host(const char *host, const char *name) {
    _cleanup_free_ char *found = vm_host_name(host);
    if (name)
        CHECK_STR(found, name);
    else
        CHECK(!found);
}

static void test_hosts(void) {
    check_host("web1.ramet", "web1");
    check_host("web1.lan.ramet", "web1.lan");
    check_host("x.ramet.ramet", "x.ramet");
    check_host("web1", NULL);
    check_host(".ramet", NULL);
    check_host("web1.ramets", NULL);
}

static void test_vm(void) {
    const SshConfig config = {.program = "ramet", .home = "/var/lib/ramet"};
    _cleanup_(strbuf_free) StrBuf out = {0};
    ssh_config_add_vm(&config, "web1", "0123abcd", &out);
    CHECK_STR(out.data, "Host web1.ramet\n"
                        "    HostKeyAlias 0123abcd.ramet\n"
                        "    UserKnownHostsFile \"/var/lib/ramet/ssh_known_hosts\"\n"
                        "    StrictHostKeyChecking accept-new\n"
                        "    User root\n"
                        "    IdentityFile \"/var/lib/ramet/ssh/id_ed25519\"\n"
                        "    IdentitiesOnly yes\n"
                        "    KnownHostsCommand /usr/bin/env 'ramet' ssh-config --host-key %H\n"
                        "    ProxyCommand 'ramet' proxy --wait 10 -- '%n' %p\n");
}

/* ssh takes % for itself, and the shell a quote. */
static void test_odd_paths(void) {
    const SshConfig config = {
        .program = "/a b/it's", .home = "/x%y z", .env = {"RAMET_HOME=/x%y z", "RAMET_SOCKET=/s"}};
    _cleanup_(strbuf_free) StrBuf out = {0};
    ssh_config_add_vm(&config, "v", "1", &out);
    ssh_config_add_others(&config, &out);
    CHECK_CONTAINS(out.data, "UserKnownHostsFile \"/x%%y z/ssh_known_hosts\"\n");
    CHECK_CONTAINS(out.data, "\nHost *.ramet\n");
    CHECK_CONTAINS(out.data, "    ProxyCommand env 'RAMET_HOME=/x%%y z' 'RAMET_SOCKET=/s' "
                             "'/a b/it'\\''s' proxy --wait 10 -- '%n' %p\n");
}

int main(void) {
    RUN(test_hosts);
    RUN(test_vm);
    RUN(test_odd_paths);
    return 0;
}
